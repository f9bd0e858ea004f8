package source

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Schemes of tax numbers.
const (
	schemeVAT   = "eu_vat"
	schemeOther = "tax"
)

// Upsert implements System.
func (e *ERP) Upsert(ctx context.Context, obj golden.Object, writes []Write) ([]Result, error) {
	if err := checkSize(writes); err != nil || len(writes) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if obj == golden.Contact {
		return piecemeal(ctx, writes, e.upsertContacts)
	}
	return e.upsertCustomers(ctx, writes)
}

// customerWrite is a write with the record it changes, where that is known.
type customerWrite struct {
	Write
	current *erpv1.Customer
}

// upsertCustomers writes customers. The ERP replaces lists as a whole, and holds addresses and tax numbers that are not
// ours in the same lists: such a list is only ever written over the record it was read from.
func (e *ERP) upsertCustomers(ctx context.Context, writes []Write) ([]Result, error) {
	current, err := e.current(ctx, writes)
	if err != nil {
		return nil, err
	}
	batch := make([]customerWrite, len(writes))
	for i, w := range writes {
		batch[i] = customerWrite{w, current[w.Ref.RecordID]}
	}
	results, err := piecemeal(ctx, batch, e.sendCustomers)
	if err != nil {
		return nil, err
	}
	e.finish(ctx, writes, results)
	return results, nil
}

// finish writes the lists of records that were found by their key: that they exist became known only now.
func (e *ERP) finish(ctx context.Context, writes []Write, results []Result) {
	var again []customerWrite
	var places []int
	var ids []string
	for i, w := range writes {
		r := results[i]
		if w.Ref.RecordID != "" || r.Err != nil || r.Created || r.Record == nil || !writesLists(w.Values) {
			continue
		}
		if len(r.Record.Values.Changed(golden.Customer, listValues(w.Values))) == 0 {
			continue
		}
		w.Ref.RecordID = r.RecordID
		again, places, ids = append(again, customerWrite{Write: w}), append(places, i), append(ids, r.RecordID)
	}
	if len(again) == 0 {
		return
	}
	// The first part of these writes is made, so whatever happens now nobody may take them for refused.
	fail := func(at int, err error) {
		results[at].Err = fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the record was found and written in part")
	}
	known, err := e.read(ctx, ids)
	if err != nil {
		for _, at := range places {
			fail(at, err)
		}
		return
	}
	for i := range again {
		again[i].current = known[again[i].Ref.RecordID]
	}
	rest, err := piecemeal(ctx, again, e.sendCustomers)
	for i, at := range places {
		switch {
		case err != nil:
			fail(at, err)
		case rest[i].Err != nil:
			fail(at, rest[i].Err)
		default:
			rest[i].Unchanged = rest[i].Unchanged && results[at].Unchanged
			results[at] = rest[i]
		}
	}
}

// current reads the records whose lists will be written.
func (e *ERP) current(ctx context.Context, writes []Write) (map[string]*erpv1.Customer, error) {
	var ids []string
	for _, w := range writes {
		if w.Ref.RecordID != "" && writesLists(w.Values) {
			ids = append(ids, w.Ref.RecordID)
		}
	}
	known, err := e.read(ctx, ids)
	if err != nil {
		// Nothing has been written yet, and the caller is told so whatever the reading ended with.
		return nil, unsent(err)
	}
	return known, nil
}

// unsent says of a call that failed before anything was written that it may be repeated.
func unsent(err error) error {
	switch fault.KindOf(err) {
	case fault.Timeout, fault.Internal, fault.Unavailable, fault.Uncertain:
		return fault.Wrap(fault.Unavailable, fault.ReasonOf(err), err, "the records to change could not be read")
	default:
		return err
	}
}

func (e *ERP) read(ctx context.Context, ids []string) (map[string]*erpv1.Customer, error) {
	known := make(map[string]*erpv1.Customer, len(ids))
	if len(ids) == 0 {
		return known, nil
	}
	resp, err := e.customers.BatchGetCustomers(ctx, &erpv1.BatchGetCustomersRequest{Ids: ids})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	for _, m := range resp.GetCustomers() {
		known[m.GetId()] = m
	}
	return known, nil
}

func (e *ERP) sendCustomers(ctx context.Context, writes []customerWrite) ([]Result, error) {
	req := &erpv1.BatchUpsertCustomersRequest{}
	for _, w := range writes {
		req.Upserts = append(req.Upserts, w.message())
	}
	resp, err := e.customers.BatchUpsertCustomers(ctx, req)
	if err != nil {
		return nil, err
	}
	out := make([]Result, len(resp.GetResults()))
	for i, r := range resp.GetResults() {
		if r.GetCustomer() == nil {
			out[i] = Result{Err: refusal(r.GetError(), false)}
			continue
		}
		out[i] = erpResult(r.GetOutcome(), e.customer(r.GetCustomer()))
	}
	return out, nil
}

func erpResult(outcome erpv1.Outcome, rec *Record) Result {
	return Result{
		RecordID: rec.Ref.RecordID, Version: rec.Version, Record: rec,
		Created: outcome == erpv1.Outcome_OUTCOME_CREATED, Unchanged: outcome == erpv1.Outcome_OUTCOME_UNCHANGED,
	}
}

// message returns what is sent for a write.
func (w *customerWrite) message() *erpv1.CustomerUpsert {
	m := &erpv1.Customer{Id: w.Ref.RecordID}
	up := &erpv1.CustomerUpsert{Customer: m, Key: reference(golden.Customer, w.ExternalID), ExpectedVersion: w.ExpectedVersion}
	paths := fill(erpCustomer(), m, w.Values)
	if writesLists(w.Values) {
		var have *erpv1.Customer
		if w.current != nil {
			have = w.current
			// What was read must still be true when the lists are replaced.
			if up.ExpectedVersion == 0 {
				up.ExpectedVersion = have.GetVersion()
			}
		}
		m.Addresses = withAddress(have.GetAddresses(), w.Values)
		m.TaxIds = withTaxID(have.GetTaxIds(), w.Values)
		// Without the record at hand the lists are for a new one only: outside the mask they leave an existing alone.
		if have != nil {
			paths = append(paths, listPaths(w.Values)...)
		}
	}
	up.UpdateMask = erpMask(paths)
	return up
}

// erpMask names the references when nothing else is written: an empty mask would mean all fields.
func erpMask(paths []string) *fieldmaskpb.FieldMask {
	if len(paths) == 0 {
		paths = []string{"refs"}
	}
	return &fieldmaskpb.FieldMask{Paths: paths}
}

func listPaths(values golden.Values) []string {
	var paths []string
	if _, ok := values[golden.TaxID]; ok {
		paths = append(paths, "tax_ids")
	}
	for _, f := range addressFields() {
		if _, ok := values[f]; ok {
			return append(paths, "addresses")
		}
	}
	return paths
}

func writesLists(values golden.Values) bool { return len(listPaths(values)) > 0 }

// listValues returns the values that live in lists.
func listValues(values golden.Values) golden.Values {
	out := golden.Values{}
	for _, f := range append(addressFields(), golden.TaxID) {
		if v, ok := values[f]; ok {
			out[f] = golden.Canonical(golden.Customer, f, v)
		}
	}
	return out
}

// defaultAddress returns the address we keep; nil when there is none.
func defaultAddress(list []*erpv1.Address) *erpv1.Address {
	for _, a := range list {
		if u := a.GetUsage(); u == erpv1.AddressUsage_ADDRESS_USAGE_DEFAULT || u == erpv1.AddressUsage_ADDRESS_USAGE_UNSPECIFIED {
			return a
		}
	}
	return nil
}

// withAddress returns the list with our parts of the default address in it. An address of nothing is left out.
func withAddress(list []*erpv1.Address, values golden.Values) []*erpv1.Address {
	address := &erpv1.Address{Usage: erpv1.AddressUsage_ADDRESS_USAGE_DEFAULT}
	old := defaultAddress(list)
	if old != nil {
		address = proto.CloneOf(old)
	}
	fill(erpAddress(), address, values)
	out := slices.DeleteFunc(slices.Clone(list), func(a *erpv1.Address) bool { return a == old })
	for _, s := range erpAddress() {
		if *s.at(address) != "" {
			return append(out, address)
		}
	}
	return out
}

// mainTaxID returns the tax number we keep: the European one, else the general one, else the first by scheme.
func mainTaxID(list []*erpv1.TaxId) *erpv1.TaxId {
	rank := func(t *erpv1.TaxId) string {
		switch t.GetScheme() {
		case schemeVAT:
			return "0"
		case schemeOther:
			return "1"
		default:
			return "2" + t.GetScheme()
		}
	}
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b *erpv1.TaxId) int { return strings.Compare(rank(a), rank(b)) })
}

// withTaxID returns the list with our number in the place of the one we keep. An empty number removes it.
func withTaxID(list []*erpv1.TaxId, values golden.Values) []*erpv1.TaxId {
	value, ok := values[golden.TaxID]
	if !ok {
		return list
	}
	old := mainTaxID(list)
	out := slices.DeleteFunc(slices.Clone(list), func(t *erpv1.TaxId) bool { return t == old })
	if value == "" {
		return out
	}
	scheme := schemeOf(value)
	if old != nil {
		scheme = old.GetScheme()
	}
	return append(out, &erpv1.TaxId{Scheme: scheme, Value: value})
}

// schemeOf tells a European number, which starts with two letters, from others.
func schemeOf(value string) string {
	letters := strings.TrimLeft(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if len(value)-len(letters) == 2 && strings.ContainsAny(letters, "0123456789") {
		return schemeVAT
	}
	return schemeOther
}

func (e *ERP) upsertContacts(ctx context.Context, writes []Write) ([]Result, error) {
	req := &erpv1.BatchUpsertContactsRequest{}
	for _, w := range writes {
		m := &erpv1.Contact{Id: w.Ref.RecordID}
		paths := fill(erpContact(), m, w.Values)
		if w.writesParent() {
			m.CustomerId = w.ParentID
			paths = append(paths, "customer_id")
		}
		req.Upserts = append(req.Upserts, &erpv1.ContactUpsert{
			Contact: m, Key: reference(golden.Contact, w.ExternalID), UpdateMask: erpMask(paths), ExpectedVersion: w.ExpectedVersion,
		})
	}
	resp, err := e.contacts.BatchUpsertContacts(ctx, req)
	if err != nil {
		return nil, err
	}
	out := make([]Result, len(resp.GetResults()))
	for i, r := range resp.GetResults() {
		if r.GetContact() == nil {
			out[i] = Result{Err: refusal(r.GetError(), false)}
			continue
		}
		out[i] = erpResult(r.GetOutcome(), e.contact(r.GetContact()))
	}
	return out, nil
}
