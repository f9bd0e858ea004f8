// Cases of jsforce.
import assert from 'node:assert/strict';
import jsforce from 'jsforce';
import { JWT, assertion, capability, expireSessions, session, world } from './world.mjs';

const version = '62.0';

// login authorizes a connection with a JWT bearer assertion.
async function login(options = {}) {
  const connection = new jsforce.Connection({ loginUrl: world.url, version, callOptions: { client: 'jsforce' }, ...options });
  await connection.authorize({ grant_type: JWT, assertion: assertion() });
  return connection;
}

// usable asks for something that only a session gets.
async function usable(connection) {
  const found = await connection.query('SELECT Id FROM Organization');
  assert.equal(found.totalSize, 1);
}

capability('login-jwt', async () => {
  const connection = await login();
  assert.equal(connection.instanceUrl, world.url);
  assert.match(connection.userInfo.id, /^005/);
  assert.match(connection.userInfo.organizationId, /^00D/);
  await usable(connection);
  await assert.rejects(
    new jsforce.Connection({ loginUrl: world.url }).authorize({ grant_type: JWT, assertion: `${assertion()}x` }),
    { name: 'invalid_grant' },
  );
});

capability('login-client-credentials', async () => {
  const connection = new jsforce.Connection({
    version,
    oauth2: { loginUrl: world.url, clientId: world.clientId, clientSecret: world.clientSecret },
  });
  await connection.authorize({ grant_type: 'client_credentials' });
  await usable(connection);
});

capability('login-password', async () => {
  const oauth2 = { loginUrl: world.url, clientId: world.clientId, clientSecret: world.clientSecret };
  const connection = new jsforce.Connection({ version, oauth2 });
  await connection.login(world.username, world.password + world.securityToken);
  await usable(connection);
  await assert.rejects(new jsforce.Connection({ version, oauth2 }).login(world.username, 'wrong'), { name: 'invalid_grant' });
});

capability('login-soap', async () => {
  const connection = new jsforce.Connection({ loginUrl: world.url });
  const info = await connection.login(world.username, world.password + world.securityToken);
  assert.match(info.organizationId, /^00D/);
  await usable(connection);
  await assert.rejects(new jsforce.Connection({ loginUrl: world.url }).login(world.username, 'wrong'), /INVALID_LOGIN/);
  await connection.logout();
});

capability('login-session', async () => {
  const other = await session();
  const connection = new jsforce.Connection({ instanceUrl: other.instance, accessToken: other.token, version });
  await usable(connection);
});

capability('relogin', async () => {
  let logins = 0;
  const connection = await login({
    refreshFn: async (_, done) => {
      logins += 1;
      done(null, (await session()).token);
    },
  });
  await expireSessions();
  await Promise.all(Array.from({ length: 10 }, () => usable(connection)));
  assert.equal(logins, 1);
});

capability('identity', async () => {
  const connection = await login();
  const identity = await connection.identity();
  assert.equal(identity.username, world.username);
  assert.equal(identity.user_id, connection.userInfo.id);
  await usable(connection);
  assert.ok(connection.limitInfo.apiUsage.used > 0);
  assert.ok(connection.limitInfo.apiUsage.limit > 0);
});

capability('describe', async () => {
  const connection = await login();
  const all = await connection.describeGlobal();
  assert.ok(all.sobjects.some((o) => o.name === 'Account' && o.keyPrefix === '001'));
  const account = await connection.sobject('Account').describe();
  assert.ok(account.fields.some((f) => f.name === 'Selfsame_Id__c' && f.externalId && f.unique));
  assert.ok(account.childRelationships.some((r) => r.childSObject === 'Contact'));
  await assert.rejects(connection.sobject('Nothing').describe(), { errorCode: 'NOT_FOUND' });
});

capability('query', async () => {
  const connection = await login();
  const made = await connection.sobject('Account').create(
    Array.from({ length: 2100 }, (_, i) => ({ Name: `Page ${String(i).padStart(5, '0')}` })),
    { allowRecursive: true, allOrNone: true },
  );
  assert.equal(made.length, 2100);
  assert.ok(made.every((r) => r.success));
  const soql = "SELECT Id, Name FROM Account WHERE Name LIKE 'Page %' ORDER BY Name";
  let page = await connection.query(soql);
  assert.equal(page.totalSize, 2100);
  assert.equal(page.records.length, 2000);
  assert.equal(page.done, false);
  page = await connection.queryMore(page.nextRecordsUrl);
  assert.equal(page.records.length, 100);
  assert.equal(page.done, true);

  const names = (await connection.query(soql, { autoFetch: true, maxFetch: 5000, headers: { 'Sforce-Query-Options': 'batchSize=200' } })).records.map((r) => r.Name);
  assert.equal(new Set(names).size, 2100);
  assert.deepEqual(names, [...names].sort());

  const found = await connection.sobject('Account').find({ Name: { $like: 'Page 0000%' } }, ['Id', 'Name']).sort({ Name: -1 }).limit(3).execute();
  assert.deepEqual(found.map((r) => r.Name), ['Page 00009', 'Page 00008', 'Page 00007']);
  assert.equal(await connection.sobject('Account').count({ Name: { $like: 'Page %' } }), 2100);
});

capability('records', async () => {
  const connection = await login();
  const accounts = connection.sobject('Account');
  const { id, success } = await accounts.create({ Name: 'One', AnnualRevenue: 1250, BillingCity: 'Köln' });
  assert.ok(success);
  const one = await accounts.retrieve(id);
  assert.equal(one.Name, 'One');
  assert.equal(one.AnnualRevenue, 1250);
  assert.equal(one.BillingAddress.city, 'Köln');
  assert.ok((await accounts.update({ Id: id, Name: 'Uno', BillingCity: null })).success);
  const uno = await connection.sobject('Account').retrieve(id);
  assert.equal(uno.Name, 'Uno');
  assert.equal(uno.BillingCity, null);

  const first = await accounts.upsert({ Selfsame_Id__c: 'jsforce-1', Name: 'Two' }, 'Selfsame_Id__c');
  assert.equal(first.created, true);
  const second = await accounts.upsert({ Selfsame_Id__c: 'jsforce-1', Name: 'Deux' }, 'Selfsame_Id__c');
  assert.equal(second.created, false);
  assert.equal(second.id, first.id);
  const child = await connection.sobject('Contact').create({ LastName: 'Kim', Account: { Selfsame_Id__c: 'jsforce-1' } });
  const kim = await connection.query(`SELECT Account.Name FROM Contact WHERE Id = '${child.id}'`);
  assert.equal(kim.records[0].Account.Name, 'Deux');

  assert.ok((await accounts.destroy(id)).success);
  await assert.rejects(accounts.retrieve(id), { errorCode: 'ENTITY_IS_DELETED' });
  const gone = await connection.query(`SELECT Id FROM Account WHERE Id = '${id}'`, { scanAll: true });
  assert.equal(gone.totalSize, 1);
  const hour = 3_600_000;
  const deleted = await accounts.deleted(new Date(Date.now() - hour), new Date(Date.now() + 60_000));
  assert.ok(deleted.deletedRecords.some((r) => r.id === id));
  const updated = await accounts.updated(new Date(Date.now() - hour), new Date(Date.now() + 60_000));
  assert.ok(updated.ids.includes(first.id));
});

capability('refusal', async () => {
  const connection = await login();
  await assert.rejects(connection.sobject('Account').create({ Industry: 'Energy' }), {
    errorCode: 'REQUIRED_FIELD_MISSING',
  });
  await connection.sobject('Account').create({ Name: 'Taken', Selfsame_Id__c: 'jsforce-taken' });
  await assert.rejects(connection.sobject('Account').create({ Name: 'Taken', Selfsame_Id__c: 'jsforce-taken' }), {
    errorCode: 'DUPLICATE_VALUE',
  });
  await assert.rejects(connection.sobject('Account').create({ Name: 'A', Colour__c: 'red' }), { errorCode: 'INVALID_FIELD' });
  await assert.rejects(connection.query('SELECT Nothing FROM Account'), { errorCode: 'INVALID_FIELD' });
  await assert.rejects(connection.query('SELECT FROM'), { errorCode: 'MALFORMED_QUERY' });
});

capability('collections', async () => {
  const connection = await login();
  const accounts = connection.sobject('Account');
  const created = await accounts.create([{ Name: 'C1' }, { Industry: 'Energy' }, { Name: 'C3' }]);
  assert.deepEqual(created.map((r) => r.success), [true, false, true]);
  assert.equal(created[1].errors[0].statusCode, 'REQUIRED_FIELD_MISSING');
  const none = await accounts.create([{ Name: 'Rolled back' }, { Industry: 'Energy' }], { allOrNone: true });
  assert.deepEqual(none.map((r) => r.success), [false, false]);
  assert.equal(await accounts.count({ Name: 'Rolled back' }), 0);

  const ids = [created[0].id, created[2].id];
  const updated = await accounts.update(ids.map((Id, i) => ({ Id, Name: `U${i}` })));
  assert.ok(updated.every((r) => r.success));
  const upserted = await accounts.upsert(
    [{ Selfsame_Id__c: 'jsforce-c1', Name: 'New' }, { Selfsame_Id__c: 'jsforce-c2', Name: 'New' }],
    'Selfsame_Id__c',
  );
  assert.deepEqual(upserted.map((r) => [r.success, r.created]), [[true, true], [true, true]]);
  const read = await accounts.retrieve(ids);
  assert.deepEqual(read.map((r) => r.Name), ['U0', 'U1']);
  const deleted = await accounts.destroy([...ids, '001000000000000AAA']);
  assert.deepEqual(deleted.map((r) => r.success), [true, true, false]);
});

capability('composite', async () => {
  const connection = await login();
  const path = `/services/data/v${version}`;
  const { compositeResponse: done } = await connection.requestPost(`${path}/composite`, {
    allOrNone: true,
    compositeRequest: [
      { method: 'POST', url: `${path}/sobjects/Account`, referenceId: 'parent', body: { Name: 'Composite parent' } },
      { method: 'POST', url: `${path}/sobjects/Contact`, referenceId: 'child', body: { LastName: 'Child', AccountId: '@{parent.id}' } },
      { method: 'GET', url: `${path}/sobjects/Contact/@{child.id}?fields=AccountId`, referenceId: 'read' },
    ],
  });
  assert.deepEqual(done.map((r) => [r.referenceId, r.httpStatusCode]), [['parent', 201], ['child', 201], ['read', 200]]);
  assert.equal(done[2].body.AccountId, done[0].body.id);

  const { compositeResponse: undone } = await connection.requestPost(`${path}/composite`, {
    allOrNone: true,
    compositeRequest: [
      { method: 'POST', url: `${path}/sobjects/Account`, referenceId: 'a', body: { Name: 'Composite undone' } },
      { method: 'POST', url: `${path}/sobjects/Account`, referenceId: 'b', body: { Industry: 'Energy' } },
    ],
  });
  assert.deepEqual(undone.map((r) => [r.httpStatusCode, r.body[0].errorCode]), [[400, 'PROCESSING_HALTED'], [400, 'REQUIRED_FIELD_MISSING']]);
  assert.equal(await connection.sobject('Account').count({ Name: 'Composite undone' }), 0);
});

capability('bulk-load', async () => {
  const connection = await login();
  const before = await connection.sobject('Account').create({ Name: 'Before', Phone: '123', Selfsame_Id__c: 'jsforce-b0' });
  const input = [
    { Selfsame_Id__c: 'jsforce-b0', Name: 'After', Phone: null, Description: 'a "quoted", text\nin two lines' },
    { Selfsame_Id__c: 'jsforce-b1', Name: 'Loaded', Phone: '456', Description: '' },
    { Selfsame_Id__c: 'jsforce-b2', Name: '', Phone: '789', Description: '' },
  ];
  const got = await connection.bulk2.loadAndWaitForResults({
    object: 'Account',
    operation: 'upsert',
    externalIdFieldName: 'Selfsame_Id__c',
    input,
    pollInterval: 100,
    pollTimeout: 20_000,
  });
  const ok = Object.fromEntries(got.successfulResults.map((r) => [r.Selfsame_Id__c, r]));
  assert.deepEqual(Object.keys(ok).sort(), ['jsforce-b0', 'jsforce-b1']);
  assert.equal(ok['jsforce-b0'].sf__Id, before.id);
  assert.equal(ok['jsforce-b0'].sf__Created, 'false');
  assert.equal(ok['jsforce-b1'].sf__Created, 'true');
  assert.equal(got.failedResults.length, 1);
  assert.equal(got.failedResults[0].Selfsame_Id__c, 'jsforce-b2');
  assert.match(got.failedResults[0].sf__Error, /^REQUIRED_FIELD_MISSING:.*Name/);
  assert.deepEqual(got.unprocessedRecords, []);
  const after = await connection.sobject('Account').retrieve(before.id);
  assert.equal(after.Name, 'After');
  assert.equal(after.Phone, null);
  assert.equal(after.Description, 'a "quoted", text\nin two lines');
});

capability('bulk-query', async () => {
  const connection = await login();
  const names = Array.from({ length: 150 }, (_, i) => `Bulk, "query" ${i}`);
  await connection.sobject('Account').create(names.map((Name) => ({ Name })), { allOrNone: true });
  const stream = await connection.bulk2.query("SELECT Id, Name, Phone FROM Account WHERE Name LIKE 'Bulk, %'", { pollInterval: 100, pollTimeout: 20_000 });
  const records = await stream.toArray();
  assert.deepEqual(records.map((r) => r.Name).sort(), [...names].sort());
  assert.ok(records.every((r) => /^001/.test(r.Id) && r.Phone === ''));
});

capability('bulk-classic', async () => {
  const connection = await login();
  const job = connection.bulk.createJob('Account', 'upsert', { extIdField: 'Selfsame_Id__c', concurrencyMode: 'Serial' });
  await job.open();
  assert.equal((await job.check()).concurrencyMode, 'Serial');
  const load = (records) =>
    new Promise((resolve, reject) => {
      const batch = job.createBatch();
      batch.on('queue', () => batch.poll(100, 20_000));
      batch.on('response', resolve);
      batch.on('error', reject);
      batch.execute(records);
    });
  const results = await Promise.all([
    load([{ Selfsame_Id__c: 'jsforce-s1', Name: 'Serial 1' }, { Selfsame_Id__c: 'jsforce-s2', Name: '' }]),
    load([{ Selfsame_Id__c: 'jsforce-s3', Name: 'Serial, "3"' }]),
  ]);
  assert.deepEqual(results[0].map((r) => r.success), [true, false]);
  assert.match(results[0][1].errors[0], /^REQUIRED_FIELD_MISSING/);
  assert.match(results[0][0].id, /^001/);
  assert.deepEqual(results[1].map((r) => r.success), [true]);
  assert.equal((await job.close()).state, 'Closed');
  const info = await job.check();
  assert.equal(info.numberRecordsProcessed, '3');
  assert.equal(info.numberRecordsFailed, '1');
  assert.equal(await connection.sobject('Account').count({ Name: 'Serial, "3"' }), 1);
});

capability('publish-rest', async () => {
  const connection = await login();
  const result = await connection.sobject('CarMaintenance__e').create({ Mileage__c: 95443, Cost__c: 99.4, WorkDescription__c: 'Replaced front brakes' });
  assert.equal(result.success, true);
  assert.match(result.id, /^e\d\d/);
});
