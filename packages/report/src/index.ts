export { reportFiles } from "./check.ts";
export { checkDestination } from "./destination.ts";
export {
  type ListedReport,
  listReports,
  readReport,
  readReportArray,
  readReportTable,
} from "./read.ts";
export { type Cell, readTable, type Table, writeTable } from "./table.ts";
export type {
  AlignmentRow,
  AlignmentSection,
  DissociationSection,
  DoseCurve,
  DosePoint,
  Estimate,
  JsonValue,
  LesionEffect,
  LesionGroup,
  LesionSection,
  LesionSet,
  LesionTask,
  NoteSection,
  Report,
  ReportModel,
  ReportSoftware,
  ReportStimuli,
  Section,
  SelectionLayer,
  SelectionSection,
  Statistic,
  UnitRow,
  UnitsSection,
  Verdict,
} from "./types.ts";
export { type ReportArray, reportBytes, writeReport } from "./write.ts";
