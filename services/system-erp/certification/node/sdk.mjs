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
const moment = require('moment');

const destination = { url: process.env.CERTIFY_URL, authentication: 'BasicAuthentication', username: 'CERTIFY', password: 'certify', sapClient: '100' };

const bp = partners.apiBusinessPartner();
const so = sales.apiSalesOrderSrv();
const products = client('API_PRODUCT_SRV').apiProductSrv();
const prices = client('API_SLSPRICINGCONDITIONRECORD_SRV').apiSlspricingconditionrecordSrv();
const stock = client('API_MATERIAL_STOCK_SRV').apiMaterialStockSrv();
const deliveries = client('API_OUTBOUND_DELIVERY_SRV').apiOutboundDeliverySrv();
const availability = client('API_PRODUCT_AVAILY_INFO_BASIC');

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

// desk is what the warehouse does; SAP has no interface for it.
async function desk(path, body = {}) {
  const response = await fetch(`${process.env.CERTIFY_URL}/__sandbox__/${path}`, { method: 'POST', body: JSON.stringify(body) });
  assert.ok(response.ok, await response.clone().text());
  return (await response.json()).document;
}

// order places one of the product with everything that is nested in an order.
async function order(buyer, quantity, other = buyer) {
  const { salesOrderApi, salesOrderItemApi, salesOrderHeaderPartnerApi, salesOrderTextApi, salesOrderScheduleLineApi } = so;
  const line = salesOrderScheduleLineApi.entityBuilder().requestedDeliveryDate(moment.utc('2031-03-01')).scheduleLineOrderQuantity(quantity).build();
  return salesOrderApi
    .requestBuilder()
    .create(
      salesOrderApi
        .entityBuilder()
        .salesOrderType('OR')
        .salesOrganization('1010')
        .distributionChannel('10')
        .organizationDivision('00')
        .soldToParty(buyer.businessPartner)
        .requestedDeliveryDate(moment.utc('2031-02-01'))
        .toPartner([salesOrderHeaderPartnerApi.entityBuilder().partnerFunction('SH').customer(other.businessPartner).build()])
        .toText([salesOrderTextApi.entityBuilder().language('EN').longTextId('TX01').longText('Ring twice').build()])
        .toItem([salesOrderItemApi.entityBuilder().material('P-1').requestedQuantity(quantity).toScheduleLine([line]).build()])
        .build(),
    )
    .execute(destination);
}

test('an order with partners, texts and days of its lines', async () => {
  const [buyer, other] = [await create('Buyer'), await create('Other')];
  const made = await order(buyer, '1', other);
  const { schema } = so.salesOrderApi;
  const found = await so.salesOrderApi
    .requestBuilder()
    .getByKey(made.salesOrder)
    .select(schema.REQUESTED_DELIVERY_DATE, schema.TO_PARTNER, schema.TO_TEXT, schema.TO_ITEM.select(so.salesOrderItemApi.schema.MATERIAL, so.salesOrderItemApi.schema.TO_SCHEDULE_LINE))
    .execute(destination);
  assert.equal(found.requestedDeliveryDate.format('YYYY-MM-DD'), '2031-02-01');
  assert.equal(found.toPartner.find((p) => p.partnerFunction === 'SH').customer, other.businessPartner);
  assert.equal(found.toPartner.find((p) => p.partnerFunction === 'BP').customer, buyer.businessPartner);
  assert.equal(found.toText[0].longText, 'Ring twice');
  assert.equal(found.toItem[0].toScheduleLine[0].requestedDeliveryDate.format('YYYY-MM-DD'), '2031-03-01');
});

test('products with texts and units, made and changed', async () => {
  const { productApi, productDescriptionApi, productUnitsOfMeasureApi } = products;
  const made = await productApi
    .requestBuilder()
    .create(
      productApi
        .entityBuilder()
        .product('VALVE-9')
        .productType('HAWA')
        .baseUnit('PC')
        .toDescription([productDescriptionApi.entityBuilder().language('EN').productDescription('Valve').build()])
        .toProductUnitsOfMeasure([productUnitsOfMeasureApi.entityBuilder().alternativeUnit('CAR').quantityNumerator('12').quantityDenominator('1').build()])
        .build(),
    )
    .execute(destination);
  const read = () => productApi.requestBuilder().getByKey('VALVE-9').select(productApi.schema.ALL_FIELDS, productApi.schema.TO_DESCRIPTION, productApi.schema.TO_PRODUCT_UNITS_OF_MEASURE).execute(destination);
  const found = await read();
  assert.equal(found.toDescription[0].productDescription, 'Valve');
  assert.equal(Number(found.toProductUnitsOfMeasure.find((u) => u.alternativeUnit === 'CAR').quantityNumerator), 12);
  made.productGroup = 'P002';
  await productApi.requestBuilder().update(made).execute(destination);
  assert.equal((await read()).productGroup, 'P002');
});

test('list prices with their condition records', async () => {
  const { slsPrcgCndnRecdValidityApi: api } = prices;
  const [found] = await api.requestBuilder().getAll().filter(api.schema.MATERIAL.equals('P-1')).select(api.schema.ALL_FIELDS, api.schema.TO_SLS_PRCG_CONDITION_RECORD).execute(destination);
  assert.equal(Number(found.toSlsPrcgConditionRecord.conditionRateValue), 12.5);
  assert.equal(found.toSlsPrcgConditionRecord.conditionRateValueUnit, 'EUR');
});

test('stock by material', async () => {
  const { matlStkInAcctModApi: api } = stock;
  const [found] = await api.requestBuilder().getAll().filter(api.schema.MATERIAL.equals('P-1')).execute(destination);
  assert.equal(found.plant, '1010');
  assert.ok(Number(found.matlWrhsStkQtyInMatlBaseUnit) > 0);
});

test('availability by functions, one record and a list', async () => {
  const at = () =>
    availability
      .determineAvailabilityAt({ supplyingPlant: '1010', material: 'P-1', atpCheckingRule: 'A', requestedUtcDateTime: moment.utc() })
      .execute(destination);
  const before = await at();
  assert.equal(before.baseUnit, 'PC');
  await order(await create('Reserves'), '2');
  assert.equal(Number(before.availableQuantityInBaseUnit) - Number((await at()).availableQuantityInBaseUnit), 2);
  const series = await availability.calculateAvailabilityTimeseries({ supplyingPlant: '1010', material: 'P-1', atpCheckingRule: 'A' }).execute(destination);
  assert.ok(series[0].periodStartUtcDateTime.isValid());
});

test('deliveries in parts, planned and sent off', async () => {
  const made = await order(await create('Waits'), '3');
  const planned = await desk(`orders/${made.salesOrder}/deliver`, { items: { 10: '1' }, planned: true });
  const rest = await desk(`orders/${made.salesOrder}/deliver`);
  const { outbDeliveryHeaderApi, outbDeliveryItemApi } = deliveries;
  const items = await outbDeliveryItemApi.requestBuilder().getAll().filter(outbDeliveryItemApi.schema.REFERENCE_SD_DOCUMENT.equals(made.salesOrder)).execute(destination);
  assert.deepEqual(items.map((i) => [i.deliveryDocument, Number(i.actualDeliveryQuantity)]), [[planned, 1], [rest, 2]]);
  const header = (id) => outbDeliveryHeaderApi.requestBuilder().getByKey(id).select(outbDeliveryHeaderApi.schema.ALL_FIELDS, outbDeliveryHeaderApi.schema.TO_DELIVERY_DOCUMENT_ITEM).execute(destination);
  assert.equal((await header(planned)).overallGoodsMovementStatus, 'A');
  assert.equal((await header(planned)).toDeliveryDocumentItem[0].material, 'P-1');
  await desk(`deliveries/${planned}/issue`);
  assert.equal((await header(planned)).overallGoodsMovementStatus, 'C');
  const found = await so.salesOrderApi.requestBuilder().getByKey(made.salesOrder).execute(destination);
  assert.equal(found.overallDeliveryStatus, 'C');
});

test('business partners with tax numbers, identifications and a contact', async () => {
  const { businessPartnerApi, businessPartnerTaxNumberApi, buPaIdentificationApi, businessPartnerContactApi } = bp;
  const company = await businessPartnerApi
    .requestBuilder()
    .create(
      businessPartnerApi
        .entityBuilder()
        .businessPartnerCategory('2')
        .organizationBpName1('Taxed')
        .toBusinessPartnerTax([businessPartnerTaxNumberApi.entityBuilder().bpTaxType('DE0').bpTaxNumber('DE123456789').build()])
        .toBuPaIdentification([buPaIdentificationApi.entityBuilder().bpIdentificationType('SELFSM').bpIdentificationNumber('a/b/c').build()])
        .build(),
    )
    .execute(destination);
  const person = await businessPartnerApi.requestBuilder().create(businessPartnerApi.entityBuilder().businessPartnerCategory('1').firstName('Eva').lastName('Lang').build()).execute(destination);
  await businessPartnerContactApi
    .requestBuilder()
    .create(businessPartnerContactApi.entityBuilder().businessPartnerCompany(company.businessPartner).businessPartnerPerson(person.businessPartner).build())
    .execute(destination);
  const { schema } = businessPartnerApi;
  const found = await businessPartnerApi.requestBuilder().getByKey(company.businessPartner).select(schema.BUSINESS_PARTNER, schema.TO_BUSINESS_PARTNER_TAX, schema.TO_BU_PA_IDENTIFICATION, schema.TO_BUSINESS_PARTNER_CONTACT).execute(destination);
  assert.equal(found.toBusinessPartnerTax[0].bpTaxNumber, 'DE123456789');
  assert.equal(found.toBuPaIdentification[0].bpIdentificationNumber, 'a/b/c');
  assert.equal(found.toBusinessPartnerContact[0].businessPartnerPerson, person.businessPartner);
});
