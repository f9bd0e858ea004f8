// Starts SAP's own server code on a model that is made of the metadata of our sandbox (its binary is the first argument), and
// runs the tests of the back end against it. Writes the table to the second argument; what follows goes to `go test`.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { model, root, services } from './model.mjs';

const [binary, table, ...more] = process.argv.slice(2);
const here = import.meta.dirname;
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'certify-cap-'));
const children = new Set();

// start runs a program until it has said url=…; what it says is shown if it ends before.
function start(command, args, options) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  children.add(child);
  let said = '';
  const url = new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        said = (said + chunk).slice(-20000);
        const found = /url=(\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
    }
    child.on('error', reject);
    child.on('exit', (code) => {
      children.delete(child);
      reject(new Error(`${path.basename(args[0] ?? command)} ended with ${code}: ${said}`));
    });
  });
  return { child, url, said: () => said };
}

function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return gone;
}

// learn reads the metadata of the sandbox into a model.
async function learn() {
  const sandbox = start(binary, ['--listen', '127.0.0.1:0']);
  const url = await sandbox.url;
  const documents = {};
  for (const service of services) {
    const response = await fetch(`${url}${root}${service}/$metadata`);
    if (!response.ok) throw new Error(`metadata of ${service}: ${response.status}`);
    documents[service] = await response.text();
  }
  await stop(sandbox.child);
  const file = path.join(work, 'model.csn.json');
  fs.writeFileSync(file, JSON.stringify(await model(documents)));
  return file;
}

// test runs the Go tests and returns one line for each case, and whether all of it passed.
async function test(url) {
  const args = ['test', '-count=1', '-json', '-timeout', '20m', '-run', '^TestCAP', ...more, './services/system-erp/internal/sap'];
  const child = spawn('go', args, { cwd: path.join(here, '../../../..'), env: { ...process.env, SELFSAME_TEST_CAP: url }, stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const ended = new Promise((resolve, reject) => child.on('error', reject).on('close', (code) => resolve(code)));
  const results = [];
  const said = {};
  for await (const line of readline.createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) continue;
    const e = JSON.parse(line);
    const name = e.Test ?? '';
    if (e.Action === 'output') {
      said[name] = (said[name] ?? '') + e.Output;
      const left = /left out: (.*): (.*)$/.exec(e.Output.trimEnd());
      if (left) results.push({ name: left[1], group: 'not_done', left: left[2] });
    }
    const parts = name.split('/');
    if (['pass', 'fail', 'skip'].includes(e.Action) && (parts.length === 3 || (parts.length === 1 && name && name !== 'TestCAP'))) {
      const plain = parts.length === 3 ? parts[2].replaceAll('_', ' ') : 'customers of all shapes are changed into each other';
      results.push({ name: plain, group: parts.length === 3 ? parts[1] : 'customers', passed: e.Action === 'pass' });
    }
    if (e.Action === 'fail') process.stderr.write(said[name] ?? '');
  }
  children.delete(child);
  return { results, code: await ended };
}

const order = ['the_protocol', 'customers', 'orders', 'lost_and_late', 'feed', 'advice', 'not_done'];
const version = (name) => createRequire(import.meta.url)(`${name}/package.json`).version;

function markdown(results) {
  const cell = (r) => (r.left ? `left out: ${r.left}` : r.passed ? 'yes' : '**no**');
  const rows = results
    .toSorted((a, b) => order.indexOf(a.group) - order.indexOf(b.group) || (a.name < b.name ? -1 : 1))
    .map((r) => `| ${r.group.replaceAll('_', ' ')} | ${r.name} | ${cell(r)} |`);
  return `# The back end against SAP's own server code

Written by \`make certify-cap\`: \`@sap/cds\` ${version('@sap/cds')} with \`@cap-js-community/odata-v2-adapter\` ${version('@cap-js-community/odata-v2-adapter')} and
\`@cap-js/sqlite\` ${version('@cap-js/sqlite')}, unmodified, [judge the client](../../services/system-erp/certification/README.md#saps-own-server-code) of system-erp.

| about | case | passed |
|---|---|---|
${rows.join('\n')}
`;
}

for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
  process.once(signal, () => {
    for (const child of children) child.kill('SIGTERM');
    fs.rmSync(work, { recursive: true, force: true });
    process.exit(code);
  });
}

let failed = 1;
try {
  const began = performance.now();
  const file = await learn();
  const server = start(process.execPath, [path.join(here, 'server.mjs')], { cwd: here, env: { ...process.env, CAP_MODEL: file, CAP_PORT: '0' } });
  const url = await server.url;
  const ready = performance.now();
  const { results, code } = await test(url);
  failed = results.filter((r) => !r.passed && !r.left).length || code || (results.length === 0 ? 1 : 0);
  if (failed) process.stderr.write(server.said());
  else if (table && !more.includes('-run')) fs.writeFileSync(table, markdown(results));
  const seconds = (ms) => (ms / 1000).toFixed(0);
  console.log(`${results.filter((r) => r.passed).length} passed, ${results.filter((r) => r.left).length} left out, ${results.filter((r) => !r.passed && !r.left).length} failed; ready in ${seconds(ready - began)} s, tests ${seconds(performance.now() - ready)} s`);
} finally {
  await Promise.all([...children].map(stop));
  fs.rmSync(work, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
