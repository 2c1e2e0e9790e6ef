export { positionLengthFloor } from "./floors/positionLengthFloor.ts";
