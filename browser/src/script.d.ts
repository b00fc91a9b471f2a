// Types of the global that dist/stamp.script.js makes: `stamp` in scripts, and `window.stamp` in modules.
import type * as exported from "./index.js";
export * from "./index.js";
export as namespace stamp;
declare global {
  interface Window {
    stamp: typeof exported;
  }
}
