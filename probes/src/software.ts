import { createRequire } from "node:module";
import type { ReportSoftware } from "@penfield/report";

const require = createRequire(import.meta.url);

/** The versions that a result was made with. */
export function softwareVersions(): ReportSoftware {
  const own = require("../package.json") as { version: string };
  // The runtime's own package file is not exported; its version is that of the installed module.
  const runtime = require("onnxruntime-node") as { env?: { versions?: { node?: string } } };
  return {
    penfield: own.version,
    node: process.versions.node,
    onnxruntime: runtime.env?.versions?.node ?? "unknown",
  };
}
