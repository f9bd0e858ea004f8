// What the CAP runtime has no idea of and S/4HANA does when something is stored: number ranges, upper case, the customer of a
// business partner, stamps and tags, net amounts and statuses. There are no checks: CAP takes what it is given.
import { randomUUID } from 'node:crypto';
import cds from '@sap/cds';

const counters = {};
const next = (range, from) => String((counters[range] = (counters[range] ?? from - 1) + 1));

// The keys that the system assigns, by entity set; nth counts the siblings.
const assigned = {
  A_BusinessPartner: { BusinessPartner: () => next('partner', 1000001), BusinessPartnerUUID: () => randomUUID() },
  A_BusinessPartnerAddress: { AddressID: () => next('address', 20001) },
  A_BuPaAddressUsage: { ValidityEndDate: () => '9999-12-31T23:59:59.000Z' },
  A_AddressEmailAddress: { Person: () => '', OrdinalNumber: (nth) => String(nth) },
  A_AddressPhoneNumber: { Person: () => '', OrdinalNumber: (nth) => String(nth) },
  A_AddressHomePageURL: { Person: () => '', OrdinalNumber: (nth) => String(nth) },
  A_CustSalesPartnerFunc: { PartnerCounter: (nth) => String(nth) },
  A_SalesOrder: { SalesOrder: () => next('order', 1) },
  A_SalesOrderItem: { SalesOrderItem: (nth) => String(nth * 10) },
  A_SalesOrderScheduleLine: { ScheduleLine: (nth) => String(nth) },
  A_SalesOrderItemPrElement: { PricingProcedureStep: (nth) => String(nth), PricingProcedureCounter: () => '1' },
  A_SalesOrderHeaderPrElement: { PricingProcedureStep: (nth) => String(nth), PricingProcedureCounter: () => '1' },
};

const short = (entity) => entity.name.slice(entity.name.lastIndexOf('.') + 1);

// ends are the pairs of names that a link joins.
function ends(link) {
  const refs = link.on.filter((x) => x.ref).map((x) => x.ref);
  const pairs = [];
  for (let i = 0; i < refs.length; i += 2) pairs.push([refs[i + 1][0], refs[i][1]]);
  return pairs;
}

// upper writes what the system keeps in upper case.
function upper(entity, row) {
  for (const [name, e] of Object.entries(entity.elements)) {
    if (e['@sap.display.format'] === 'UpperCase' && typeof row[name] === 'string') row[name] = row[name].toUpperCase();
  }
}

// complete gives a new row and everything nested in it its keys. nth is its place among its siblings.
function complete(entity, row, nth) {
  upper(entity, row);
  for (const [key, make] of Object.entries(assigned[short(entity)] ?? {})) row[key] ??= make(nth);
  before[short(entity)]?.(row);
  for (const [name, e] of Object.entries(entity.elements)) {
    if (!e.isComposition || row[name] == null) continue;
    [row[name]].flat().forEach((child, i) => {
      for (const [from, to] of ends(e)) child[to] = row[from];
      complete(e._target, child, i + 1);
    });
  }
}

function now() {
  const text = new Date().toISOString();
  return { text, day: text.slice(0, 10), time: text.slice(11, 19) };
}

const round = (x) => String(Math.round(x * 100) / 100);
const statuses = { OverallSDProcessStatus: 'A', OverallDeliveryStatus: 'A', OverallOrdReltdBillgStatus: 'A', OverallSDDocumentRejectionSts: 'A' };

// before is what depends on the object.
const before = {
  A_BusinessPartner(row) {
    const at = now();
    Object.assign(row, { CreationDate: at.day, CreationTime: at.time, LastChangeDate: at.day, LastChangeTime: at.time, ETag: next('etag', 1) });
    if (row.to_BusinessPartnerRole?.some((r) => r.BusinessPartnerRole?.startsWith('FLCU'))) {
      row.Customer = row.BusinessPartner; // model company: both have one number
      row.to_Customer ??= {};
    }
  },
  A_SalesOrder(row) {
    const at = now();
    for (const item of row.to_Item ?? []) {
      const price = item.to_PricingElement?.[0];
      const net = price ? (Number(price.ConditionRateValue) / Number(price.ConditionQuantity ?? 1)) * Number(item.RequestedQuantity) : 0;
      Object.assign(item, { NetAmount: round(net), TransactionCurrency: row.TransactionCurrency, SDProcessStatus: 'A', DeliveryStatus: 'A' });
      item.to_ScheduleLine ??= [{ ScheduleLineOrderQuantity: item.RequestedQuantity }];
      for (const line of item.to_ScheduleLine) line.RequestedDeliveryDate ??= row.RequestedDeliveryDate;
    }
    const total = (row.to_Item ?? []).reduce((sum, item) => sum + Number(item.NetAmount), 0);
    Object.assign(row, statuses, { TotalNetAmount: round(total), CreationDate: at.day, LastChangeDate: at.day, LastChangeDateTime: at.text });
    row.SalesOrderDate ??= at.day;
  },
};

// siblings is how many rows there are below the parent that a new row is put under.
async function siblings(entity, row) {
  const rules = Object.entries(assigned[short(entity)] ?? {}).filter(([, make]) => make.length === 1);
  if (rules.length === 0) return 0;
  const open = new Set(Object.keys(assigned[short(entity)]));
  const where = Object.fromEntries(Object.keys(entity.keys).filter((k) => !open.has(k)).map((k) => [k, row[k]]));
  const rows = await SELECT.from(entity.name).columns(rules[0][0]).where(where);
  return Math.max(0, ...rows.map((r) => Number(r[rules[0][0]]) || 0));
}

// serve hangs all this on a service.
export function serve(service) {
  service.before('CREATE', async (req) => complete(req.target, req.data, (await siblings(req.target, req.data)) + 1));
  service.before('UPDATE', (req) => {
    const at = now();
    upper(req.target, req.data);
    if (short(req.target) === 'A_BusinessPartner') Object.assign(req.data, { LastChangeDate: at.day, LastChangeTime: at.time, ETag: next('etag', 1) });
    if (short(req.target) === 'A_SalesOrder') Object.assign(req.data, { LastChangeDate: at.day, LastChangeDateTime: at.text });
  });
  if (service.operations?.DetermineAvailabilityAt) {
    service.on('DetermineAvailabilityAt', async (req) => {
      const rows = await SELECT.from('API_MATERIAL_STOCK_SRV.A_MatlStkInAcctMod').where({ Material: req.data.Material, Plant: req.data.SupplyingPlant });
      return { AvailableQuantityInBaseUnit: String(rows.reduce((sum, r) => sum + Number(r.MatlWrhsStkQtyInMatlBaseUnit), 0)), BaseUnit: rows[0]?.MaterialBaseUnit };
    });
  }
}

// seed puts products on the shelf, with prices and stock.
export async function seed(products) {
  const day = { ConditionValidityStartDate: '2020-01-01', ConditionValidityEndDate: '9999-12-31' };
  for (const [i, p] of products.entries()) {
    const record = { ConditionRecord: String(i + 1), ConditionType: 'PPR0' };
    await INSERT.into('API_PRODUCT_SRV.A_Product').entries({
      Product: p.ID, ProductType: 'FERT', BaseUnit: 'PC', LastChangeDateTime: now().text, to_Description: [{ Product: p.ID, Language: 'EN', ProductDescription: p.Name }],
    });
    await INSERT.into('API_SLSPRICINGCONDITIONRECORD_SRV.A_SlsPrcgCndnRecdValidity').entries({
      ...record, ...day, SalesOrganization: '1010', DistributionChannel: '10', Material: p.ID,
      to_SlsPrcgConditionRecord: { ...record, ConditionRateValue: p.Price, ConditionRateValueUnit: 'EUR', ConditionQuantity: '1' },
    });
    await INSERT.into('API_MATERIAL_STOCK_SRV.A_MatlStkInAcctMod').entries({
      Material: p.ID, Plant: '1010', StorageLocation: '101A', Batch: '', Supplier: '', Customer: '', WBSElementInternalID: '', SDDocument: '', SDDocumentItem: '',
      InventorySpecialStockType: '', InventoryStockType: '01', MaterialBaseUnit: 'PC', MatlWrhsStkQtyInMatlBaseUnit: p.Stock,
    });
  }
}
