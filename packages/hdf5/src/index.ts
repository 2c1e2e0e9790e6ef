export { type ReadHdf5Options, readHdf5, writeHdf5 } from "./hdf5.ts";
export type {
  H5Array,
  H5Attributes,
  H5Draft,
  H5DraftArray,
  H5Entry,
  H5Group,
  H5Numbers,
  H5Unread,
  H5Values,
} from "./hdf5Tree.ts";
