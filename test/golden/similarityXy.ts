import type { SimilarityMapping } from "./similarity.ts";

/** Results of the groups xy, stochastic and dsa. */
export const mapXy: SimilarityMapping = () => undefined;
