package source

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// crmObject names a kind of record as RecordService does.
func crmObject(obj golden.Object) string {
	if obj == golden.Contact {
		return "contact"
	}
	return "account"
}

// Find implements System, in two calls: the ids by external id, and the records.
func (s *Salesforce) Find(ctx context.Context, obj golden.Object, externalIDs []string) ([]Record, error) {
	if err := checkIDs(externalIDs); err != nil || len(externalIDs) == 0 {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := s.records.BatchGetRecords(bounded, &salesforcev1.BatchGetRecordsRequest{Object: crmObject(obj), ExternalIds: externalIDs})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	var ids []string
	for _, m := range resp.GetRecords() {
		ids = append(ids, m.GetId())
	}
	if len(ids) == 0 {
		return nil, nil
	}
	recs, _, err := s.Fetch(ctx, obj, ids)
	return live(recs), err
}

// Remove implements System.
func (s *Salesforce) Remove(ctx context.Context, obj golden.Object, ids []string) ([]Result, error) {
	if err := checkIDs(ids); err != nil || len(ids) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return piecemeal(ctx, ids, func(ctx context.Context, ids []string) ([]Result, error) {
		resp, err := s.records.BatchDeleteRecords(ctx, &salesforcev1.BatchDeleteRecordsRequest{Object: crmObject(obj), Ids: ids})
		if err != nil {
			return nil, err
		}
		out := make([]Result, len(resp.GetResults()))
		for i, r := range resp.GetResults() {
			out[i] = Result{RecordID: r.GetId(), Unchanged: r.GetMissing()}
			if !r.GetDeleted() {
				out[i] = Result{Err: salesforceRefusal(r.GetError())}
			}
		}
		return out, nil
	})
}

// Find implements System. The ERP looks one reference up at a time.
func (e *ERP) Find(ctx context.Context, obj golden.Object, externalIDs []string) ([]Record, error) {
	if err := checkIDs(externalIDs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var out []Record
	for _, id := range externalIDs {
		rec, err := e.lookup(ctx, obj, reference(obj, id))
		if err = fault.FromStatus(err); fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *rec)
	}
	return live(out), nil
}

func (e *ERP) lookup(ctx context.Context, obj golden.Object, ref *erpv1.Reference) (*Record, error) {
	if obj == golden.Contact {
		resp, err := e.contacts.LookupContact(ctx, &erpv1.LookupContactRequest{Ref: ref})
		if err != nil {
			return nil, err
		}
		return e.contact(resp.GetContact()), nil
	}
	resp, err := e.customers.LookupCustomer(ctx, &erpv1.LookupCustomerRequest{Ref: ref})
	if err != nil {
		return nil, err
	}
	return e.customer(resp.GetCustomer()), nil
}

// Remove implements System. The ERP deletes one record at a time, and leaves a tombstone.
func (e *ERP) Remove(ctx context.Context, obj golden.Object, ids []string) ([]Result, error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	out := make([]Result, len(ids))
	for i, id := range ids {
		version, err := e.remove(ctx, obj, id)
		switch err = fault.FromStatus(err); {
		case err == nil:
			out[i] = Result{RecordID: id, Version: version}
		case fault.Is(err, fault.NotFound):
			out[i] = Result{RecordID: id, Unchanged: true}
		case i == 0 && !OutcomeKnown(err):
			return nil, err // nothing was asked before it, and nothing need be asked after it
		default:
			out[i] = Result{Err: err}
		}
	}
	return out, nil
}

func (e *ERP) remove(ctx context.Context, obj golden.Object, id string) (version int64, err error) {
	if obj == golden.Contact {
		resp, err := e.contacts.DeleteContact(ctx, &erpv1.DeleteContactRequest{Id: id})
		return resp.GetContact().GetVersion(), err
	}
	resp, err := e.customers.DeleteCustomer(ctx, &erpv1.DeleteCustomerRequest{Id: id})
	return resp.GetCustomer().GetVersion(), err
}

// live leaves tombstones out.
func live(recs []Record) []Record {
	var out []Record
	for _, r := range recs {
		if !r.Deleted {
			out = append(out, r)
		}
	}
	return out
}

func checkIDs(ids []string) error {
	if len(ids) > MaxWrites {
		return fault.New(fault.Invalid, fault.ReasonValidationFailed, "%d records in one call, at most %d", len(ids), MaxWrites)
	}
	return nil
}
