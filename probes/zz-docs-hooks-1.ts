import { HookedModel } from "@penfield/hooks";

const model = await HookedModel.fromPretrained("/opt/penfield-data/interim/organism-a");
const tokenizer = model.requireTokenizer();
const ids = tokenizer.encode("The keys to the cabinet", { prependBos: true });
console.log(tokenizer.toStrTokens(ids));
const { tokenLogProbs } = await model.run({ tokens: [ids], head: "tokenLogProbs" });
console.log(tokenLogProbs!.shape); // [1, ids.length]; position 0 holds 0
await model.dispose();
