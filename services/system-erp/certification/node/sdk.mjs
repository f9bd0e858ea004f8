// Cases of SAP's client. It knows nothing of us: it speaks to the sandbox as it would to a real system.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import test from 'node:test';

const require = createRequire(import.meta.url);
const { desc, filterFunctions } = require('@sap-cloud-sdk/odata-v2');
const client = (service) => require(path.join(process.env.CERTIFY_CLIENT, service));
const partners = client('API_BUSINESS_PARTNER');
const sales = client('API_SALES_ORDER_SRV');

const destination = { url: process.env.CERTIFY_URL, authentication: 'BasicAuthentication', username: 'CERTIFY', password: 'certify', sapClient: '100' };

const bp = partners.apiBusinessPartner();
const so = sales.apiSalesOrderSrv();

// organisation builds a customer with everything that is nested in one.
function organisation(name) {
  const { businessPartnerApi, businessPartnerRoleApi, businessPartnerAddressApi, addressEmailAddressApi, customerApi, customerSalesAreaApi } = bp;
  return businessPartnerApi
    .entityBuilder()
    .businessPartnerCategory('2')
    .organizationBpName1(name)
    .toBusinessPartnerRole([businessPartnerRoleApi.entityBuilder().businessPartnerRole('FLCU01').build()])
    .toBusinessPartnerAddress([
      businessPartnerAddressApi
        .entityBuilder()
        .country('DE')
        .cityName('Köln')
        .toEmailAddress([addressEmailAddressApi.entityBuilder().emailAddress('info@acme.example').build()])
        .build(),
    ])
    .toCustomer(
      customerApi
        .entityBuilder()
        .toCustomerSalesArea([
          customerSalesAreaApi.entityBuilder().salesOrganization('1010').distributionChannel('10').division('00').currency('EUR').build(),
        ])
        .build(),
    )
    .build();
}

const create = (name) => bp.businessPartnerApi.requestBuilder().create(organisation(name)).execute(destination);

// status digs the status of HTTP out of an error.
async function status(promise) {
  try {
    await promise;
  } catch (error) {
    for (let e = error; e; e = e.cause) if (e.response?.status) return e.response.status;
    throw error;
  }
  return 200;
}

test('a deep insert, with its token fetched by itself', async () => {
  const made = await create('Acme');
  assert.match(made.businessPartner, /^\d+$/);
  assert.equal(made.customer, made.businessPartner);
  assert.equal(made.toBusinessPartnerAddress[0].cityName, 'Köln');
});

test('a read by key with nested entities', async () => {
  const made = await create('Read');
  const { schema } = bp.businessPartnerApi;
  const found = await bp.businessPartnerApi
    .requestBuilder()
    .getByKey(made.businessPartner)
    .select(schema.BUSINESS_PARTNER, schema.CREATION_DATE, schema.LAST_CHANGE_TIME, schema.TO_BUSINESS_PARTNER_ADDRESS.select(bp.businessPartnerAddressApi.schema.ALL_FIELDS, bp.businessPartnerAddressApi.schema.TO_EMAIL_ADDRESS))
    .execute(destination);
  assert.equal(found.toBusinessPartnerAddress[0].toEmailAddress[0].emailAddress, 'info@acme.example');
  assert.ok(found.creationDate.isValid());
});

test('a filtered list, ordered, and its count', async () => {
  for (let i = 0; i < 5; i++) await create(`Page ${i}`);
  const { schema } = bp.businessPartnerApi;
  const builder = () => bp.businessPartnerApi.requestBuilder().getAll().filter(filterFunctions().startsWith(schema.ORGANIZATION_BP_NAME_1, 'Page').equals(true)).orderBy(desc(schema.ORGANIZATION_BP_NAME_1));
  const first = await builder().top(2).execute(destination);
  assert.deepEqual(first.map((p) => p.organizationBpName1), ['Page 4', 'Page 3']);
  const count = await builder().count().execute(destination);
  assert.equal(count, 5);
});

test('a change under the tag that was read', async () => {
  const made = await create('Tag');
  const read = () => bp.businessPartnerApi.requestBuilder().getByKey(made.businessPartner).execute(destination);
  const one = await read();
  const other = await read();
  one.searchTerm1 = 'ONE';
  await bp.businessPartnerApi.requestBuilder().update(one).execute(destination);
  assert.equal((await read()).searchTerm1, 'ONE');
  other.searchTerm1 = 'TWO';
  assert.equal(await status(bp.businessPartnerApi.requestBuilder().update(other).execute(destination)), 412);
});

test('a refusal with the words of the system', async () => {
  const bad = bp.businessPartnerApi.entityBuilder().businessPartnerCategory('2').build();
  await assert.rejects(bp.businessPartnerApi.requestBuilder().create(bad).execute(destination), (error) => {
    for (let e = error; e; e = e.cause) if (JSON.stringify(e.response?.data ?? '').includes('Enter a name')) return true;
    return false;
  });
});

test('a batch with a change set and a read', async () => {
  const { batch, changeset } = partners;
  const builder = () => bp.businessPartnerApi.requestBuilder();
  const answers = await batch(changeset(builder().create(organisation('Batch 1')), builder().create(organisation('Batch 2'))), builder().getAll().filter(bp.businessPartnerApi.schema.ORGANIZATION_BP_NAME_1.equals('Batch 1'))).execute(destination);
  assert.equal(answers.length, 2);
  assert.ok(answers[0].isSuccess());
  assert.equal(answers[0].responses.length, 2);
  assert.ok(answers[1].isSuccess());
  assert.equal(answers[1].as(bp.businessPartnerApi).length, 1);
});

test('a sales order with lines, decimals and dates', async () => {
  const buyer = await create('Buyer');
  const { salesOrderApi, salesOrderItemApi } = so;
  const made = await salesOrderApi
    .requestBuilder()
    .create(
      salesOrderApi
        .entityBuilder()
        .salesOrderType('OR')
        .salesOrganization('1010')
        .distributionChannel('10')
        .organizationDivision('00')
        .soldToParty(buyer.businessPartner)
        .toItem([salesOrderItemApi.entityBuilder().material('P-1').requestedQuantity('2').build()])
        .build(),
    )
    .execute(destination);
  const found = await salesOrderApi.requestBuilder().getByKey(made.salesOrder).select(salesOrderApi.schema.ALL_FIELDS, salesOrderApi.schema.TO_ITEM).execute(destination);
  assert.equal(Number(found.totalNetAmount), 25);
  assert.equal(found.toItem[0].salesOrderItem, '10');
  assert.ok(found.lastChangeDateTime.isValid());
});

test('a removal', async () => {
  const made = await create('Gone');
  const [role] = await bp.businessPartnerRoleApi.requestBuilder().getAll().filter(bp.businessPartnerRoleApi.schema.BUSINESS_PARTNER.equals(made.businessPartner)).execute(destination);
  await bp.businessPartnerRoleApi.requestBuilder().delete(role).execute(destination);
  const left = await bp.businessPartnerRoleApi.requestBuilder().getAll().filter(bp.businessPartnerRoleApi.schema.BUSINESS_PARTNER.equals(made.businessPartner)).execute(destination);
  assert.equal(left.length, 0);
});
