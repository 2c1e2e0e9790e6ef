/** Every verb with its options: a verb begins a line, what belongs to it is indented. */
export const helpText = `penfield: find the units of a network that do a job, silence them, and set them beside a brain.

  npm run -s penfield -- <verb> [options]

run [PROBE]             run an experiment; without a name, list them
  --model M             hub id, folder in hub layout, or .onnx file
                        (organism-a, organism-b ship with Penfield; default organism-a)
  --file NAME           which of several ONNX files (model, model_fp16, model_quantized, ...)
  --units KIND          resid (default), mlp, heads
  --stimuli PATH        localizer stimuli (default: Penfield's own)
  --positive C, --negative C
                        conditions to set against each other (default: what the set says)
  --tasks PATH[,PATH]   tasks; may be given several times (default: Penfield's own)
  --recordings FILE     .npy [stimuli x targets] or [repeats x stimuli x targets], or a table
  --recording-stimuli P the stimuli of the recording; --recording-key COLUMN names its rows,
                        --recording-groups COLUMN keeps a story or run on one side of each split
  --percent P           share of units selected (default 1)
  --doses A,B,C         shares silenced (default 0.125,0.25,0.5,1,2)
  --random N            random sets per dose (default 10)
  --pooling HOW         last-token (default) or mean
  --max-tokens N|all    tokens kept of each localizer stimulus (default 12)
  --signed              contrast signed activations (default: magnitudes)
  --items-per-group N   use so many items of each group of a task (default: all)
  --scoring HOW         sum (default) or mean of token log-probabilities
  --bos, --no-bos       with or without the beginning-of-text token (default: if there is one)
  --seed N              (default 42)
  --threads N           threads of the runtime (default: one per core)
  --out DIR             the report's folder (default reports/PROBE-MODEL)
  --replace             replace an older report there
  --resume              go on with an interrupted run
hooks --model M         list the hook points of a model [--pattern 'blocks.0.*'], or of a spiking network
                        (spiking-a, FILE.nir or a folder with config.json) [--pattern '*.spikes'] [--dt S] [--preset NAME]
capture                 write the activations of a corpus to a folder that numpy opens
  --model M, --file NAME, --threads N, --bos, --no-bos
                        as of run
  --corpus PATH|SET     .txt (a text a line), .jsonl (text or tokens), stimuli.tsv, or a folder of these;
                        or the name of a set that ships with Penfield (prose)
  --hooks P[,P]         hook points, with *: 'blocks.*.mlp.hook_post'; may be given several times
  --out DIR             the store's folder
  --positions HOW       all (default), last or mean: which tokens of each text
  --dtype TYPE          float32 (default) or float16
  --max-tokens N        tokens kept of each text
  --split               cut texts longer than the model's context into pieces
  --resume              go on with an interrupted capture
  --recordings PATH, --dt, --preset
                        of a spiking network, as of census: a recording stands for a text, a step for a token
  --inspect DIR         instead: print what is in a store
compare A B [C ...]     how alike representations are: .npy, .npz, .mat or .safetensors, [stimuli x units]
                        or [trials x stimuli x units]; NAME.npz:KEY names one of several arrays
  --metric N[,N]        measures (default linear-cka-unbiased; of models linear-cka); --all takes all
  --list                instead: every measure, with its invariances, needs and cost
  --shuffles N          floors from so many random orders of stimuli (default 5; more files: 0)
  --rdm METHOD          RDMs of measures that go through them: correlation (default), euclidean, cosine
  --models              A and B are models: every layer of one with every layer of the other
  --stimuli SET|PATH    with --models: texts (default language-localizer); --condition C takes some
  --pooling HOW         with --models: mean (default) or last token
  --file, --units, --max-tokens, --bos, --no-bos, --threads, --seed
                        as of run
  --out DIR, --replace  write a report; --resume goes on with an interrupted comparison
rsa DATA [DATA ...]     RDMs: compute, compare with models, test. Files (.npy, .npz, .mat) or folders of RDMs
                        ([n x n], [rdms x n x n], a condensed one) or patterns [conditions x channels],
                        [runs x conditions x channels]
  --models P[,P]        RDMs or patterns of models
  --combine KIND[,KIND] also one model of all of them, cross-validated: select, weighted, interpolate
  --kind KIND           auto (default), rdms or patterns: what the files hold
  --rdm METHOD          correlation (default), euclidean, cosine, mahalanobis, poisson, crossnobis,
                        poisson-cv; --model-rdm METHOD for patterns of models
  --transform NAME[,NAME]
                        of every RDM, data and models: rank, sqrt, positive, min-max, geodesic, or
                        geo-topological with --quantiles LOW,HIGH (default 0.2,0.8)
  --noise METHOD        of channels, for mahalanobis and crossnobis: full, diagonal, shrinkage-eye,
                        shrinkage-diagonal; from the runs, or from --residuals P[,P], one file each
  --movie               patterns have times as last axis: scores over time [--times FILE] [--bins N]
  --searchlight FILE    scores around every voxel ([channels x 3], or a mask) [--radius N, default 2], or
                        around every vertex of a surface (triangles) with --rings N
  --comparison NAME     pearson (default), cosine, spearman, tau-a, tau-b, rho-a, whitened-cosine, ...
  --over WHAT           draw both (default), subjects, conditions or none; --draws N (default 1000)
  --test NAME           t (default), bootstrap or signed-rank; --fdr Q (default 0.05)
  --permutations N      also hold the models against N shuffles of their conditions
  --by-file             the RDMs of one file are of one subject
  --subjects FILE       whose each file is, if subjects have several: two columns, file and subject
  --labels FILE         names of the conditions, one a line
  --seed, --threads, --out, --replace
                        as of compare; --resume goes on with an interrupted bootstrap, movie or searchlight
align                   how well a model predicts recordings, and whether that says anything
  --model M             its layers read the texts; or --features F[,F]: activations of any origin
                        [stimuli x units], in the order of --stimuli or of the recording
  --stimuli PATH        the texts; --key COLUMN names the recording's rows, --groups COLUMN keeps a story,
                        run or concept on one side of each split
  --recordings FILE     .npy, .npz, .tsv, .csv, .txt, .parquet, .nc, .nii(.gz); epochs in .fif or .set; .fif,
                        .edf, .bdf, .vhdr, .set with --window FROM,TO (seconds around events); once for each
                        subject; runs of images with commas between them
  --events FILE         BIDS events of images (as many as images); --event-key COLUMN says which column names
                        the stimulus (default trial_type); --response glm (default) or average; --tr SECONDS
  --mask FILE, --atlas FILE, --labels FILE
                        voxels, and regions to sum up by; --targets FILE: a table with id, region
  --missing-values HOW  refuse (default), mask (leave targets out), repeats (unequal repeats)
  --allow-missing       score the stimuli that both sides have
  --folds N             (default 5); --split contiguous (default), grouped (default with --groups),
                        leave-one-group-out, shuffled (which the report warns of); --inner-folds N (default 5)
                        or leave-one-out (much faster) choose penalties
  --permutations N      a p for each target; --no-floors leaves out the floors: position, length and word
                        frequency; neighbourhood alone; random features; untrained weights of the model
  --signal-to-noise S   of one repeat, for --identify (default: from the repeats, else 1, which is optimistic)
  --identify            would we know? each of --candidates N layers (default 6) in turn plays the brain in
                        --simulations N (default 10) recordings, and it is counted how often it is named
  --file, --units, --pooling, --max-tokens, --bos, --no-bos, --seed, --threads, --out, --replace, --resume
                        as of compare
ceiling FILE [FILE ...] how much of recordings could be predicted, from repeats [repeat x stimulus x target]
  --stimuli PATH, --targets PATH, --missing-values HOW, --seed, --threads
                        as of align
  --splits N            halves that are compared (default 10); --repeats N: of the mean of so many
  --between             also subjects (files) from each other, extrapolated; --folds N
recordings inspect FILE what a file of recordings holds
census                  one pass over a corpus: what every unit of a model does
  --model M, --file, --corpus, --max-tokens, --split, --bos, --no-bos, --threads
                        as of capture
  --hooks P[,P]         (default blocks.*.mlp.hook_post); --keep-share S of the documents kept whole (default 1)
  --untrained           of the same model with its weights in random order: a floor for describe
  --beside DIR          another census of the same documents: which units are in both models
  --out DIR, --resume, --seed N
                        of a spiking network (--model spiking-a, FILE.nir, a folder with config.json,
                        or FILE.onnx with one time step):
  --recordings PATH     its input: a .npy [recording, step, channel], or a folder of [step, channel];
                        those that ship with Penfield have 400 trials of their own task
  --dt S, --preset NAME seconds of a step, and the simulator's conventions (default spec), where config.json has none
  --bin N               time steps of a token (default 1), called after the channels that are active in it
  --channels A,A,B,-    their names in order, equal ones together, - for none (default config.json's, or ch0, ch1, ...)
  --strongest           a bin is called after its strongest channels alone
describe CENSUS         rules in words for its units, scored on documents they were not made from
  --units HOOK:3,17     or N of each hook point (default all); --objective correlation (default), pmi, auroc
  --max-length N        conditions of a rule (default 3); --min-r R (default 0.3) below which there is no description
  --floor-units N       units that floors are measured on (default 30)
  --random-model DIR    a census of --untrained, as a floor
  --model M, --file, --threads
                        the model of the census: adds what units write; with --output-score this is scored by
                        setting them
  --seed, --resume      as of census; what was found goes on, --replace begins again (for other options)
corpora [fetch NAME]    list stimulus sets, or download a published one [--to DIR]
view [DIR]              serve the reports and censuses in a folder (default reports) [--port N]
  --host ADDRESS        listen on this address (default 127.0.0.1, this machine alone): asks for a token
  --model M, --file NAME
                        try texts on the pages of units: the model runs in a process of its own
  --export DIR|F.html   instead: write what the viewer shows as files, or one report as one file;
                        --units N of a census
help [VERB]             this text, or the options of a verb; help all: of every verb
start                   what npm start runs [--no-serve] [--port N] [--out DIR]
--version               the version

All verbs but start and help take --json. Errors go to the error stream as message, hint and code.
Exit codes: 0 done, 1 failed, 2 the command could not be understood.
`;

const sections: ReadonlyMap<string, readonly string[]> = sectionsOf(helpText);

function sectionsOf(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let lines: string[] | undefined;
  for (const line of text.split("\n").slice(1)) {
    const verb = /^[a-z]+(?= )/.exec(line)?.[0];
    if (line === "") lines = undefined;
    else if (verb) {
      lines = [];
      found.set(verb, lines);
    }
    lines?.push(line);
  }
  return found;
}

/** The options of one verb; undefined for a word that is none. */
export function helpOf(verb: string): string | undefined {
  const lines = sections.get(verb);
  if (lines === undefined) return undefined;
  const json = ["start", "help"].includes(verb) ? "" : "--json prints the result as JSON. ";
  return `${lines.join("\n")}\n\n${json}Every verb: penfield help. More: docs/command-line.md.\n`;
}

/** What `penfield help` prints: a line or two for each verb. */
export function overview(): string {
  const [title, usage, , end] = helpText.split("\n\n");
  const verbs = [...sections.values()].map((lines) => {
    // What a verb does may go on below its first line, up to its first option.
    const until = lines.findIndex((line, i) => i > 0 && /^ {2,}(-|of a |also )/.test(line));
    const about = lines.slice(0, until < 0 ? undefined : until);
    return about.filter((line, i) => i === 0 || /^ {24}/.test(line)).join("\n");
  });
  return `${title}\n\n${usage}\n\n${verbs.join("\n")}\n\nOptions of a verb: penfield <verb> --help.\n${end}`;
}
