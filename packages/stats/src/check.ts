import { ArgumentError, ShapeError } from "@penfield/core";

/** Throws unless there are at least `least` values and all of them are finite. */
export function checkValues(
  name: string,
  values: ArrayLike<number>,
  least: number,
  what = "values",
): void {
  if (values.length < least) {
    throw new ShapeError(`${name}: expected at least ${least} ${what}, got ${values.length}`);
  }
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) {
      throw new ArgumentError(`${name}: expected finite ${what}, got ${values[i]} at ${i}`, {
        hint: "Leave out or fill in missing values first.",
      });
    }
  }
}

/** Throws unless both lists are equally long, have at least `least` values, and all are finite. */
export function checkPairs(
  name: string,
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  least: number,
): void {
  if (x.length !== y.length) {
    throw new ShapeError(`${name}: expected as many y as x values (${x.length}), got ${y.length}`);
  }
  checkValues(name, x, least);
  checkValues(name, y, least);
}

/** Throws unless `value` is a whole number of at least `least`. */
export function checkCount(name: string, what: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(
      `${name}: expected ${what} to be a whole number of at least ${least}, got ${value}`,
    );
  }
}

/** Throws unless 0 < level < 1. */
export function checkLevel(name: string, level: number): void {
  if (!(level > 0 && level < 1)) {
    throw new ArgumentError(`${name}: expected level between 0 and 1, got ${level}`, {
      hint: "A 95 % interval has level 0.95.",
    });
  }
}
