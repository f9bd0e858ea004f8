// Looks at the documentation page in Chromium: it must show every operation and schema of the description, and the browser
// must have nothing to complain about. Usage: node docs-page.mjs http://HOST:PORT
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const base = process.argv[2];
if (!base) throw new Error("say where the API is");
const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((b) => existsSync(b));
if (!browser) throw new Error("there is no Chromium");

const description = await (await fetch(`${base}/openapi.json`)).json();
const profile = mkdtempSync(join(tmpdir(), "docs-page-"));
const run = spawnSync(browser, [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
  `--user-data-dir=${profile}`, "--enable-logging=stderr", "--virtual-time-budget=30000", "--dump-dom", `${base}/docs`,
], { encoding: "utf8", maxBuffer: 64 << 20, timeout: 120_000 });
rmSync(profile, { recursive: true, force: true });
if (run.error) throw run.error;

const page = run.stdout;
const faults = run.stderr.split("\n").filter((line) => line.includes(":CONSOLE"));
const missing = (what, id) => { if (!page.includes(`id="${id}"`)) faults.push(`${what} ${id} is not on the page`); };
let operations = 0;
for (const methods of Object.values(description.paths)) {
  for (const operation of Object.values(methods)) {
    operations++;
    missing("operation", operation.operationId);
  }
}
const schemas = Object.keys(description.components.schemas);
for (const name of schemas) missing("schema", `schema-${name}`);
for (const code of ["IDEMPOTENCY_KEY_MISSING", "OVERLOADED"]) missing("problem", code);
const status = /id="status"[^>]*>([^<]*)/.exec(page); // goes when the description is shown
if (status) faults.push(`the description is not shown: ${status[1]}`);
for (const href of page.matchAll(/href="#([^"]+)"/g)) missing("target of a link", href[1]);
if (operations < 10 || schemas.length < 10) faults.push("the description has hardly anything in it");
if (faults.length > 0) {
  console.error([...new Set(faults)].join("\n"));
  process.exit(1);
}
console.log(`documentation page: ${operations} operations and ${schemas.length} schemas in ${browser}`);
