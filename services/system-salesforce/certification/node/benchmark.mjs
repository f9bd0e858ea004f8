// Upserts of jsforce, for the benchmark: node benchmark.mjs <way> <records> <passes>. It prints what each pass took.
import jsforce from 'jsforce';
import { JWT, assertion, call, world } from './world.mjs';

const [way, records, passes] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const version = '62.0';
const connection = new jsforce.Connection({ loginUrl: world.url, version, callOptions: { client: 'jsforce' } });
await connection.authorize({ grant_type: JWT, assertion: assertion() });

// accounts are those that every client writes.
function accounts(pass) {
  return Array.from({ length: records }, (_, i) => ({
    Selfsame_Id__c: `bench-${String(i).padStart(7, '0')}`,
    Name: `Account ${i}, pass ${pass}`,
    Phone: `+49 30 ${String(i).padStart(7, '0')}`,
    BillingCity: 'Berlin',
  }));
}

const ways = {
  // allowRecursive is the way that jsforce documents for more than 200 records.
  'jsforce-collections': async (rows) => {
    const results = await connection.sobject('Account').upsert(rows, 'Selfsame_Id__c', { allowRecursive: true, allOrNone: false });
    return results.filter((r) => r.success).length;
  },
  // The interval is as short as that of go-salesforce; the default of jsforce is a second.
  'jsforce-bulk': async (rows) => {
    const results = await connection.bulk2.loadAndWaitForResults({
      object: 'Account', operation: 'upsert', externalIdFieldName: 'Selfsame_Id__c', input: rows, pollInterval: 500, pollTimeout: 120_000,
    });
    return results.successfulResults.length;
  },
};

const calls = async () => (await call('', 'GET', '/__sandbox__/stats')).api_calls;
const out = [];
for (let pass = 0; pass < passes; pass += 1) {
  const before = await calls();
  const began = process.hrtime.bigint();
  const succeeded = await ways[way](accounts(pass));
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  out.push({ seconds, succeeded, calls: (await calls()) - before });
}
console.log(JSON.stringify(out));
