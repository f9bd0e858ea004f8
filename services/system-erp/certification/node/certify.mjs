// Starts the sandbox (the binary is the first argument), lets SAP's generator make a client out of the metadata that the
// sandbox serves, and runs the cases with it. Writes the table to the file that is the second argument.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import ts from 'typescript';

const [binary, table] = process.argv.slice(2);
const services = [
  'API_BUSINESS_PARTNER', 'API_SALES_ORDER_SRV', 'API_PRODUCT_SRV', 'API_SLSPRICINGCONDITIONRECORD_SRV', 'API_MATERIAL_STOCK_SRV',
  'API_PRODUCT_AVAILY_INFO_BASIC', 'API_OUTBOUND_DELIVERY_SRV;v=0002',
];
// bare is the name of a service without its version, which is part of its address only.
const bare = (service) => service.split(';')[0];
const root = '/sap/opu/odata/sap/';
// Below this folder, so that the client finds the packages it imports.
const work = fs.mkdtempSync(path.join(import.meta.dirname, 'generated-'));

// start runs the sandbox and returns its address.
function start(products) {
  const child = spawn(binary, ['--listen', '127.0.0.1:0', '--page-size', '3', '--user', 'CERTIFY', '--password', 'certify', '--products', products]);
  const url = new Promise((resolve, reject) => {
    let text = '';
    child.stderr.on('data', (chunk) => {
      text += chunk;
      const found = /url=(\S+)/.exec(text);
      if (found) resolve(found[1]);
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`the sandbox ended with ${code}: ${text}`)));
  });
  return { child, url };
}

// generate lets SAP's generator read the metadata, and drops the types of what it made: Node runs JavaScript.
async function generate(url) {
  const input = path.join(work, 'edmx');
  fs.mkdirSync(input);
  const options = {};
  for (const service of services) {
    const response = await fetch(`${url}${root}${service}/$metadata`, { headers: { Authorization: `Basic ${btoa('CERTIFY:certify')}` } });
    if (!response.ok) throw new Error(`metadata of ${service}: ${response.status}`);
    const file = path.join(input, `${bare(service)}.edmx`);
    fs.writeFileSync(file, await response.text());
    options[path.relative(process.cwd(), file)] = { basePath: `${root}${service}`, directoryName: bare(service) };
  }
  const perService = path.join(work, 'options.json');
  fs.writeFileSync(perService, JSON.stringify(options));
  const made = spawnSync('npx', ['--no-install', 'generate-odata-client', '--input', input, '--outputDir', path.join(work, 'client'), '--optionsPerService', perService, '--overwrite'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`the generator failed: ${made.stdout}${made.stderr}`);
  fs.writeFileSync(path.join(work, 'client', 'package.json'), '{"type":"commonjs"}');
  for (const file of fs.readdirSync(path.join(work, 'client'), { recursive: true })) {
    if (!file.endsWith('.ts')) continue;
    const source = fs.readFileSync(path.join(work, 'client', file), 'utf8');
    const { outputText } = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } });
    fs.writeFileSync(path.join(work, 'client', file.replace(/\.ts$/, '.js')), outputText);
  }
}

// run runs the cases and returns one line each.
function run(url) {
  const env = { ...process.env, CERTIFY_URL: url, CERTIFY_CLIENT: path.join(work, 'client') };
  delete env.NODE_OPTIONS;
  const done = spawnSync(process.execPath, ['--test-force-exit', '--test-reporter=./reporter.mjs', 'sdk.mjs'], { encoding: 'utf8', env });
  process.stderr.write(done.stderr);
  return done.stdout.split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l));
}

function markdown(results) {
  const require = createRequire(import.meta.url);
  const version = require('@sap-cloud-sdk/odata-v2/package.json').version;
  const rows = results.map((r) => `| ${r.name} | ${r.passed ? 'yes' : `**no**: ${r.reason}`} |`);
  return `# SAP's client against the S/4 sandbox

Written by \`make certify-sap\`. \`@sap-cloud-sdk/odata-v2\` ${version}, unmodified; its generator makes the client out of the metadata that
the [sandbox](../../services/system-erp/sandbox/README.md) serves.

| case | passed |
|---|---|
${rows.join('\n')}
`;
}

const products = path.join(work, 'products.json');
fs.writeFileSync(products, JSON.stringify([{ ID: 'P-1', Name: 'Pump', Price: '12.50', Stock: '100' }]));
const sandbox = start(products);
let failed = 1;
try {
  const url = await sandbox.url;
  await generate(url);
  const results = run(url);
  for (const r of results) if (!r.passed) console.log(`${r.name}: ${r.reason}`);
  const passed = results.filter((r) => r.passed).length;
  failed = results.length - passed + (results.length === 0 ? 1 : 0);
  if (table) fs.writeFileSync(table, markdown(results));
  console.log(`${passed} passed, ${failed} failed`);
} finally {
  sandbox.child.removeAllListeners('exit');
  sandbox.child.kill('SIGTERM');
  fs.rmSync(work, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
