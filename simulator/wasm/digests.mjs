// Prints the number and the digest of each run, as `cargo sim --digests` does: node digests.mjs MODULE FROM COUNT
import { readFile } from "node:fs/promises";

const [file, from, count] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(await readFile(file));
const { open, run_slice, digest } = instance.exports;
for (let number = BigInt(from); number < BigInt(from) + BigInt(count); number += 1n) {
  open(number);
  let progress;
  do progress = run_slice();
  while (progress === 0);
  if (progress !== 1) throw new Error(`run ${number} has not kept every promise`);
  console.log(`${number} ${BigInt.asUintN(64, digest()).toString(16).padStart(16, "0")}`);
}
