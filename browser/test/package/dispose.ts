// TypeScript 5.2
// The first line says from which version on this compiles.
import { Stamp } from "@stamp/browser";
await using s = new Stamp();
await s.start();
await using sub = await s.subscribe("x");
for await (const msg of sub) console.log(msg.text());
const disposable: AsyncDisposable = s;
console.log(disposable);
