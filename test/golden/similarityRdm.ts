import type { SimilarityMapping } from "./similarity.ts";

/** Results of the groups rdm and compare. */
export const mapRdm: SimilarityMapping = () => undefined;
