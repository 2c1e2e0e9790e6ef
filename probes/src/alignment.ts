import type { HookedModel } from "@penfield/hooks";
import type { UnitSet } from "@penfield/localize";
import type { AlignmentSection, ReportStimuli } from "@penfield/report";
import type { ProbeContext } from "./probe.ts";
export interface Aligned {
  readonly section: AlignmentSection;
  readonly stimuli: readonly ReportStimuli[];
  readonly warnings: readonly string[];
}
export async function alignUnits(
  _model: HookedModel,
  _selected: UnitSet,
  _context: ProbeContext,
): Promise<Aligned | undefined> {
  return undefined;
}
