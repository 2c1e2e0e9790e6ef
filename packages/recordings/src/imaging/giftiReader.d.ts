// gifti-reader-js comes without types; these are the parts that gifti.ts uses.
declare module "gifti-reader-js" {
  interface GiftiLabel {
    readonly key: string;
    readonly r: number;
    readonly g: number;
    readonly b: number;
    readonly a: number;
    readonly label: string;
  }
  interface GiftiDataArray {
    readonly attributes: Readonly<Record<string, string>>;
    readonly metadata: Readonly<Record<string, string>>;
    readonly data: string | null;
  }
  interface GiftiDocument {
    readonly attributes: Readonly<Record<string, string>>;
    readonly metadata: Readonly<Record<string, string>>;
    readonly labelTable: Readonly<Record<string, GiftiLabel>>;
    readonly dataArrays: readonly GiftiDataArray[];
  }
  const giftiReader: { parse(xml: string): GiftiDocument };
  export default giftiReader;
}
