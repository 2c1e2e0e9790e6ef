/** A value that JSON holds as it is. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** A statistic; null where it is not defined (no variance, no data). NaN and Infinity are written as null. */
export type Statistic = number | null;

/** A number with its interval, whose level and method the report states once (`Report.intervals`). */
export interface Estimate {
  readonly value: Statistic;
  /** null where no interval was computed, never where it was computed and is wide. */
  readonly interval: readonly [low: number, high: number] | null;
}

/** The record of one experiment: what was asked, with what, and every number with its interval. */
export interface Report {
  readonly schema: "penfield.report";
  readonly version: 1;
  /** Letters, digits, dots, dashes and underscores; usually the folder's name. */
  readonly id: string;
  /** The probe that wrote it, e.g. "language-network". */
  readonly kind: string;
  readonly title: string;
  readonly question: string;
  /** Holds for every interval of the report. */
  readonly intervals: { readonly level: 0.95; readonly method: string };
  /** Absent where no model was run: measures of files. */
  readonly model?: ReportModel;
  /** Further models that `model` is compared with. */
  readonly comparedWith?: readonly ReportModel[];
  /** Files of numbers that the result was computed from. */
  readonly inputs?: readonly ReportInput[];
  readonly software: ReportSoftware;
  readonly seed: number;
  /** Everything else that was chosen; keys are written in alphabetical order. */
  readonly settings: { readonly [key: string]: JsonValue };
  readonly stimuli: readonly ReportStimuli[];
  /** What a reader must know before believing a number. */
  readonly warnings: readonly string[];
  readonly verdicts: readonly Verdict[];
  readonly sections: readonly Section[];
}

export interface ReportModel {
  readonly name: string;
  /** Where it came from: a hub address or a path. */
  readonly source: string;
  /** Of the graph's bytes, 64 hexadecimal digits. */
  readonly sha256: string;
  readonly nLayers: number;
  readonly dModel: number;
  readonly nHeads?: number;
  readonly dMlp?: number;
  readonly dVocab: number;
  readonly nParameters?: number;
}

/** A file of numbers, such as activations or RDMs. */
export interface ReportInput {
  /** What it was used for: "representation", "data", "model"... */
  readonly role: string;
  /** Its name without its folder. */
  readonly name: string;
  /** Of its bytes. */
  readonly sha256: string;
  readonly shape: readonly number[];
}

/** Versions. */
export interface ReportSoftware {
  readonly penfield: string;
  readonly node: string;
  readonly onnxruntime: string;
}

export interface ReportStimuli {
  /** What the set was used for: "localizer", "task", "recording"... */
  readonly role: string;
  readonly name: string;
  readonly title: string;
  readonly sha256: string;
  readonly licence: string;
  readonly nItems: number;
}

/** An expectation stated before the run, and what the data said of it. */
export interface Verdict {
  readonly expectation: string;
  readonly outcome: "seen" | "not seen" | "undecided";
  /** One sentence with the numbers. */
  readonly text: string;
}

export type Section =
  | SelectionSection
  | LesionSection
  | DissociationSection
  | AlignmentSection
  | SimilaritySection
  | MatrixSection
  | RdmsSection
  | ModelComparisonSection
  | ScoreMapSection
  | IdentificationSection
  | TimecoursesSection
  | RasterSection
  | RateMapSection
  | BrainMapSection
  | UnitsSection
  | NoteSection;

interface SectionHead {
  /** Unique in the report; letters, digits, dots, dashes and underscores. */
  readonly id: string;
  readonly title: string;
  /** One or two plain sentences on how to read the section. */
  readonly reading: string;
}

/** Which units a localizer picked, and whether they hold on stimuli it did not see. */
export interface SelectionSection extends SectionHead {
  readonly kind: "selection";
  readonly hook: string;
  readonly nLayers: number;
  /** Units in each layer. */
  readonly nUnits: number;
  readonly statistic: {
    /** e.g. "Welch t". */
    readonly name: string;
    /** Whether activations were taken by absolute value first. */
    readonly magnitude: boolean;
    readonly pooling: string;
    /** null: no limit. */
    readonly maxTokens: number | null;
  };
  readonly selected: {
    /** Units asked for. */
    readonly k: number;
    /** k as a percentage of all units. */
    readonly percent: number;
    readonly scope: "global" | "per-layer";
    /** Units chosen; differs from k where ties or the sign of t decide. */
    readonly nSelected: number;
  };
  readonly layers: readonly SelectionLayer[];
  readonly heldOut: {
    /** How often the stimuli were split in two; 0: not measured. */
    readonly nSplits: number;
    /** Overlap of the sets chosen on the two halves, |A and B| / |A or B|. */
    readonly jaccard: Estimate;
    /** Mean standardized difference of the selected units on stimuli that did not choose them. */
    readonly selectivity: Estimate;
    /** The same for random units, as many. */
    readonly randomSelectivity: Estimate;
  };
  /** Names of files in `arrays/`, each [nLayers, nUnits]; the mask holds 0 and 1. */
  readonly arrays: { readonly t: string; readonly q: string; readonly mask: string };
}

export interface SelectionLayer {
  readonly layer: number;
  readonly nSelected: number;
  /** Of t over the layer's units. */
  readonly quantiles: {
    readonly p5: Statistic;
    readonly p25: Statistic;
    readonly p50: Statistic;
    readonly p75: Statistic;
    readonly p95: Statistic;
    readonly max: Statistic;
  };
  readonly tMean: Statistic;
  /** Units with a Benjamini-Hochberg q below 0.05. */
  readonly nSignificant: number;
}

/** What the model can no longer do without its units, beside as many random ones. */
export interface LesionSection extends SectionHead {
  readonly kind: "lesion";
  readonly hook: string;
  /** Percent of all units, in ascending order, above 0; dose 0 is the baseline. */
  readonly doses: readonly number[];
  /** The dose that `groups` and the verdicts speak of; one of `doses`. */
  readonly mainDose: number;
  readonly tasks: readonly LesionTask[];
  readonly curves: readonly DoseCurve[];
  readonly effects: readonly LesionEffect[];
  readonly groups: readonly LesionGroup[];
}

export interface LesionTask {
  readonly id: string;
  readonly title: string;
  /** `main`: what the localizer is about, where that is not language. */
  readonly kind: "language" | "main" | "control" | "text";
  /** A share of items, or nats per token. */
  readonly metric: "accuracy" | "loss";
  readonly higherIsBetter: boolean;
  readonly nItems: number;
  /** What guessing gives. */
  readonly chance: number | null;
  /** With nothing silenced. */
  readonly baseline: Estimate;
}

export type LesionSet = "localized" | "random" | "layer-matched" | "least-selective";

export interface DoseCurve {
  /** The id of one of the section's tasks. */
  readonly task: string;
  readonly set: LesionSet;
  readonly points: readonly DosePoint[];
}

export interface DosePoint {
  readonly dose: number;
  readonly nUnits: number;
  readonly value: Estimate;
  /** One value for each random set; empty where the set is not random. */
  readonly draws: readonly Statistic[];
}

export interface LesionEffect {
  readonly task: string;
  readonly dose: number;
  /** Ablated minus baseline. */
  readonly effect: Estimate;
  /** Of the effects of `nRandom` random sets of the same size. */
  readonly randomMean: Statistic;
  readonly randomSd: Statistic;
  readonly z: Statistic;
  readonly p: Statistic;
  readonly nRandom: number;
}

/** A part of a task, e.g. one grammatical phenomenon, at the main dose. */
export interface LesionGroup {
  readonly task: string;
  readonly group: string;
  readonly nItems: number;
  readonly baseline: Statistic;
  readonly ablated: Statistic;
  readonly randomMean: Statistic;
}

/** Whether different localizers' units do different jobs. */
export interface DissociationSection extends SectionHead {
  readonly kind: "dissociation";
  readonly localizers: readonly { readonly id: string; readonly title: string }[];
  readonly tasks: readonly {
    readonly id: string;
    readonly title: string;
    readonly metric: "accuracy" | "loss";
    readonly higherIsBetter: boolean;
  }[];
  /** Ablated minus baseline. */
  readonly cells: readonly {
    readonly localizer: string;
    readonly task: string;
    readonly effect: Estimate;
  }[];
  /**
   * (harm of a to taskA - harm of a to taskB) - (harm of b to taskA - harm of b to taskB), harm being
   * the effect counted so that worse is positive. Above 0: each harms its own task more.
   */
  readonly interactions: readonly {
    readonly a: string;
    readonly b: string;
    readonly taskA: string;
    readonly taskB: string;
    readonly value: Estimate;
    readonly p: Statistic;
  }[];
}

/** What scores were computed from; every view says when it was simulated. */
export interface ReportRecording {
  readonly name: string;
  readonly simulated: boolean;
  readonly nStimuli: number;
  readonly nTargets: number;
  readonly nRepeats: number;
}

/** How well units predict a recording, between a floor and a ceiling. */
export interface AlignmentSection extends SectionHead {
  readonly kind: "alignment";
  readonly recording: ReportRecording;
  readonly metric: string;
  readonly folds: { readonly n: number; readonly kind: "contiguous" | "grouped" | "shuffled" };
  readonly ceiling: Estimate | null;
  readonly rows: readonly AlignmentRow[];
  /** Of the localized set beating random sets. */
  readonly p: Statistic;
  readonly layers?: readonly { readonly layer: number; readonly score: Estimate }[];
  /** If one of the unit sets were the brain, how often would the score name it? */
  readonly identification?: {
    /** Share of simulated brains that were taken for the set they were made from. */
    readonly rate: number;
    /** The share that guessing gives. */
    readonly guessing: number;
    /** Unit sets that could be the brain, the localized one among them. */
    readonly nCandidates: number;
    readonly nBrains: number;
    /** Of one repeat, variance of the signal over that of the noise. */
    readonly signalToNoise: number;
    /** Whether the noise was estimated from repeats; otherwise it is assumed. */
    readonly noiseEstimated: boolean;
  };
}

export interface AlignmentRow {
  readonly set: "localized" | "random" | "all" | "floor";
  readonly nUnits: number;
  readonly score: Estimate;
  /** One score for each random set; empty where the set is not random. */
  readonly draws: readonly Statistic[];
  /** Score divided by the ceiling. */
  readonly normalized: Statistic;
}

/** What a reader must know of a measure of similarity or distance. */
export interface ReportMeasure {
  /** As the command line spells it: "linear-cka". */
  readonly name: string;
  readonly title: string;
  readonly larger: "more alike" | "less alike";
  /** Whether it satisfies the axioms of a distance. */
  readonly metric: boolean;
}

/** Representations of the same stimuli, set beside each other by one or more measures. */
export interface SimilaritySection extends SectionHead {
  readonly kind: "similarity";
  readonly items: readonly {
    readonly title: string;
    readonly nStimuli: number;
    readonly nUnits: number;
    /** 1 where each stimulus was shown once. */
    readonly nRepeats: number;
  }[];
  readonly measures: readonly ReportMeasure[];
  readonly values: readonly SimilarityValue[];
}

/** One measure of one pair. */
export interface SimilarityValue {
  /** The name of one of the section's measures. */
  readonly measure: string;
  /** Places in `items`, from 0. Measures that are not symmetric have both orders. */
  readonly a: number;
  readonly b: number;
  readonly value: Statistic;
  /** The same measure with the stimuli of b in random order: what unrelated pairs give; null if not measured. */
  readonly floor: {
    readonly mean: Statistic;
    readonly low: Statistic;
    readonly high: Statistic;
    readonly nDraws: number;
  } | null;
}

/** A measure of every row with every column: layers of two models, or networks with each other. */
export interface MatrixSection extends SectionHead {
  readonly kind: "matrix";
  readonly measure: ReportMeasure;
  readonly rows: MatrixAxis;
  readonly columns: MatrixAxis;
  readonly nStimuli: number;
  /** Name of a file in `arrays/`, [nRows, nColumns]; NaN where the measure is not defined. */
  readonly array: string;
  /** The same with stimuli in random order in the columns, mean over draws; [nRows, nColumns]. */
  readonly floor: { readonly array: string; readonly nDraws: number } | null;
  readonly map: PointMap | null;
  /** Of the inequalities d(i, j) <= d(i, k) + d(k, j), how many fail; null where they say nothing. */
  readonly triangle: {
    readonly nViolations: number;
    readonly nInequalities: number;
    readonly worst: Statistic;
  } | null;
}

export interface MatrixAxis {
  /** What the labels name: "layer of organism-a". */
  readonly title: string;
  readonly labels: readonly string[];
}

/** Classical multidimensional scaling: points whose distances are like those given. */
export interface PointMap {
  /** What was taken for a distance: "the measure itself", "1 - measure"... */
  readonly distance: string;
  /** One for each label. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** The share of the absolute eigenvalues that the two dimensions account for. */
  readonly explained: Statistic;
}

/** Dissimilarity matrices of the same conditions. */
export interface RdmsSection extends SectionHead {
  readonly kind: "rdms";
  /** How they were computed: "correlation", "as given"... */
  readonly method: string;
  readonly conditions: readonly string[];
  readonly rdms: readonly { readonly title: string; readonly role: "data" | "model" }[];
  /** Name of a file in `arrays/`, [nRdms, nConditions (nConditions - 1) / 2]: upper triangles, row by row. */
  readonly array: string;
  /** Of the conditions, from the mean of the data RDMs. */
  readonly map: PointMap | null;
}

/** How well each of several feature sets (layers, models, controls) predicts each region. */
export interface ScoreMapSection extends SectionHead {
  readonly kind: "score-map";
  readonly recording: ReportRecording;
  /** "median Pearson r". */
  readonly metric: string;
  /** What predicted: "ridge, a penalty per target". */
  readonly estimator: string;
  readonly folds: { readonly n: number; readonly kind: "contiguous" | "grouped" | "shuffled" };
  /** Feature sets, such as layers. */
  readonly rows: MatrixAxis;
  /** Regions, sensors or subjects. */
  readonly columns: MatrixAxis;
  /** Name of a file in `arrays/`, [nRows, nColumns]; NaN where there is no score. */
  readonly array: string;
  /** The same divided by the ceiling; null without one. */
  readonly normalized: string | null;
  /** Permutation p, [nRows, nColumns]; null if not tested. */
  readonly p: string | null;
  /** Of each column; null if none could be estimated. */
  readonly ceiling: readonly Statistic[] | null;
  /** What controls reach, one value for each column. */
  readonly floors: readonly { readonly title: string; readonly values: readonly Statistic[] }[];
  /** Scores by subject, [nSubjects, nRows nColumns]; null with one subject. */
  readonly subjects: { readonly labels: readonly string[]; readonly array: string } | null;
}

/** If one of the candidates were the brain, how often would each method name it? */
export interface IdentificationSection extends SectionHead {
  readonly kind: "identification";
  readonly candidates: readonly string[];
  readonly nBrains: number;
  readonly nStimuli: number;
  readonly nTargets: number;
  readonly nRepeats: number;
  /** Of one repeat, variance of the signal over that of the noise. */
  readonly signalToNoise: number;
  /** Whether the noise was estimated from repeats; otherwise it is assumed. */
  readonly noiseEstimated: boolean;
  readonly methods: readonly {
    readonly name: string;
    readonly title: string;
    readonly rate: Estimate;
    /** Rows: the candidate that was the brain; columns: the one that was named. */
    readonly confusion: readonly (readonly number[])[];
  }[];
  /** Rates at other amounts of data. */
  readonly curves: readonly {
    /** The name of one of the methods. */
    readonly method: string;
    readonly over: "stimuli" | "targets";
    readonly points: readonly { readonly n: number; readonly rate: Estimate }[];
  }[];
}

/** Values over time: scores of sensors, membranes, rates. */
export interface TimecoursesSection extends SectionHead {
  readonly kind: "timecourses";
  /** "time from word onset (s)". */
  readonly x: string;
  readonly y: string;
  readonly nTimes: number;
  /** Name of a file in `arrays/`, [1, nTimes]. */
  readonly times: string;
  /** Drawn together where the group is the same. */
  readonly series: readonly { readonly title: string; readonly group: string }[];
  /** [nSeries, nTimes]; NaN leaves a gap. */
  readonly array: string;
  /** Ends of intervals, as `array`; null without. */
  readonly low: string | null;
  readonly high: string | null;
  /** Spans of time of one series, such as significant clusters. */
  readonly spans: readonly {
    readonly series: number;
    readonly from: number;
    readonly to: number;
    readonly p: Statistic;
  }[];
  /** Horizontal lines: chance, a threshold. */
  readonly lines: readonly { readonly title: string; readonly value: number }[];
}

/** When which unit fired. */
export interface RasterSection extends SectionHead {
  readonly kind: "raster";
  readonly trials: readonly string[];
  /** Seconds. */
  readonly duration: number;
  readonly nUnits: number;
  readonly nSpikes: number;
  /** Name of a file in `arrays/`, [nSpikes, 3]: trial, seconds, unit. */
  readonly array: string;
  /** Parts of the units, in order, covering all. */
  readonly groups: readonly { readonly title: string; readonly nUnits: number }[];
}

/** What every unit does over time, or in several conditions, as colours. */
export interface RateMapSection extends SectionHead {
  readonly kind: "rate-map";
  /** What the colours stand for: "spikes/s". */
  readonly measure: string;
  readonly nUnits: number;
  /** Name of a file in `arrays/`, [1, nUnits]: the number of the unit that each row shows. */
  readonly units: string;
  /** Parts of the rows, in order, covering all. */
  readonly groups: readonly { readonly title: string; readonly nUnits: number }[];
  /** Bins of time, all of one length, or conditions. */
  readonly columns: RateMapTime | RateMapConditions;
  /** Drawn one after the other in the same colours. */
  readonly maps: readonly { readonly title: string }[];
  /** [nMaps, nUnits nColumns], units by columns; NaN stays blank. */
  readonly array: string;
}

interface RateMapTime {
  readonly kind: "time";
  /** "time from the beginning of the trial (s)". */
  readonly title: string;
  /** Where the first bin begins and the last one ends. */
  readonly from: number;
  readonly to: number;
  readonly nBins: number;
}

interface RateMapConditions {
  readonly kind: "conditions";
  readonly title: string;
  readonly labels: readonly string[];
}

/** Values of voxels, shown in slices. */
export interface BrainMapSection extends SectionHead {
  readonly kind: "brain-map";
  readonly shape: readonly [nx: number, ny: number, nz: number];
  /** Voxel indices to millimetres, 4 x 4 by rows. */
  readonly affine: readonly number[];
  readonly nTargets: number;
  /** Name of a file in `arrays/`, [1, nTargets]: i + nx (j + ny k). */
  readonly indices: string;
  /** [nMaps, nTargets]; NaN is not drawn. */
  readonly array: string;
  /** Each with the name of a NIfTI file in `maps/`, or null. */
  readonly maps: readonly { readonly title: string; readonly file: string | null }[];
}

/** How well models predict RDMs, between zero and the noise ceiling. */
export interface ModelComparisonSection extends SectionHead {
  readonly kind: "model-comparison";
  /** How RDMs are compared. */
  readonly comparison: { readonly name: string; readonly title: string };
  /** What was drawn: "RDMs and conditions, 1000 draws". */
  readonly design: string;
  /** To what the intervals and tests speak: "new subjects, for these conditions". */
  readonly generalizesTo: string;
  readonly nSubjects: number;
  readonly nRdms: number;
  readonly nConditions: number;
  readonly nDraws: number;
  /** Draws that could not be scored. */
  readonly nUndefined: number;
  /** null: nothing to test with. */
  readonly test: "t" | "bootstrap" | "signed-rank" | null;
  /** The false discovery rate at which a difference is marked. */
  readonly fdr: number;
  readonly ceiling: { readonly lower: Statistic; readonly upper: Statistic } | null;
  readonly models: readonly ComparedModel[];
  readonly pairs: readonly {
    /** Places in `models`, from 0. */
    readonly a: number;
    readonly b: number;
    /** Score of a minus score of b. */
    readonly difference: Statistic;
    readonly p: Statistic;
    /** Benjamini-Hochberg over the pairs. */
    readonly q: Statistic;
  }[];
}

export interface ComparedModel {
  readonly title: string;
  readonly score: Estimate;
  /** Above zero; q over the models. */
  readonly zero: { readonly p: Statistic; readonly q: Statistic };
  /** Other than the lower noise ceiling; q over the models. */
  readonly ceiling: { readonly p: Statistic; readonly q: Statistic };
  /** One score for each RDM. */
  readonly draws: readonly Statistic[];
}

/** All selected units as a table file, and the first of them here. */
export interface UnitsSection extends SectionHead {
  readonly kind: "units";
  /** Name of a file in `tables/`. */
  readonly table: string;
  readonly top: readonly UnitRow[];
}

export interface UnitRow {
  /** From 1. */
  readonly rank: number;
  readonly layer: number;
  readonly unit: number;
  readonly t: Statistic;
  readonly q: Statistic;
  /** Cohen's d. */
  readonly d: Statistic;
  readonly heldOutT: Statistic;
}

export interface NoteSection extends SectionHead {
  readonly kind: "note";
  readonly paragraphs: readonly string[];
}
