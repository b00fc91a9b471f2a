// A plain script, after that of dist/stamp.script.js.
/// <reference types="@stamp/browser/script" />
const connection: stamp.Stamp = new stamp.Stamp({ timeout: 1000 });
async function ask(): Promise<stamp.Answer<number>> {
  return connection.fetch<number>("/x");
}
void ask();
