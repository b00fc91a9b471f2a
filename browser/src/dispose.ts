// Symbol.asyncDispose, for browsers and compilers that do not have it yet.

declare global {
  interface SymbolConstructor {
    /** Of `await using`. */
    readonly asyncDispose: unique symbol;
  }
}

/** Where a browser lacks the symbol, what compilers that translate `await using` take for it. */
export const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");
