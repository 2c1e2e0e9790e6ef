// Which units answer to one kind of text more than to another?   npm run -s example -- localize
import { HookedModel } from "@penfield/hooks";
import { contrast, crossValidate, readUnits, selectUnits } from "@penfield/localize";
import { organismFolder } from "@penfield/organisms";
import { contrastSet, loadStimulusSet } from "@penfield/recordings";

const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
const { positive, negative } = contrastSet(await loadStimulusSet("corpora/language-localizer"));
const read = (texts: readonly { text: string }[]) =>
  readUnits(
    model,
    texts.map((t) => t.text),
    { units: "mlp", maxTokens: 12 },
  );
const [sentences, nonwords] = [await read(positive), await read(negative)];

const { t } = contrast(sentences, nonwords);
const units = selectUnits(t, { percent: 1 });
const heldOut = crossValidate(sentences, nonwords, { percent: 1 });
console.log(
  `${units.indices.length} of ${units.nLayers * units.nUnits} MLP neurons, largest t ${Math.max(...t.data).toFixed(1)}`,
);
console.log(
  `held out: d = ${heldOut.selected.estimate.toFixed(2)}, random neurons ${heldOut.random.estimate.toFixed(2)}`,
);
await model.dispose();
