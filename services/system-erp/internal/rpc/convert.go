package rpc

import (
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// ReasonOutputOnly is the reason of a refused field that only the ERP sets.
const ReasonOutputOnly = "FIELD_OUTPUT_ONLY"

// each converts a list.
func each[A, B any](list []A, convert func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = convert(a)
	}
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func toTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func fromTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func toRef(r *erpv1.Reference) erp.Ref {
	return erp.Ref{System: r.GetSystem(), Type: r.GetType(), Value: r.GetValue()}
}

func fromRef(r erp.Ref) *erpv1.Reference {
	return &erpv1.Reference{System: r.System, Type: r.Type, Value: r.Value}
}

func fromOutcome(o erp.Outcome) erpv1.Outcome {
	switch o {
	case erp.Created:
		return erpv1.Outcome_OUTCOME_CREATED
	case erp.Updated:
		return erpv1.Outcome_OUTCOME_UPDATED
	case erp.Unchanged:
		return erpv1.Outcome_OUTCOME_UNCHANGED
	case erp.Matched:
		return erpv1.Outcome_OUTCOME_MATCHED
	case erp.AlreadyExists:
		return erpv1.Outcome_OUTCOME_ALREADY_EXISTS
	default:
		return erpv1.Outcome_OUTCOME_REFUSED
	}
}

// created is the outcome of a create.
func created(err error) erp.Outcome {
	if err != nil {
		return erp.Refused
	}
	return erp.Created
}

// maskOf reads an update mask. Where a mask is required, an empty one is refused: it would silently mean "all set fields".
func maskOf[R any](schema *erp.Schema[R], m *fieldmaskpb.FieldMask, required bool) (erp.Mask, error) {
	if len(m.GetPaths()) == 0 && (required || m != nil) {
		return erp.Mask{}, fault.InvalidField("update_mask", erp.ReasonMask, "the mask names no field")
	}
	return schema.Mask(m.GetPaths())
}

// head is what the messages of customers and contacts have in common.
type head interface {
	GetId() string
	GetVersion() int64
	GetCreateTime() *timestamppb.Timestamp
	GetUpdateTime() *timestamppb.Timestamp
	GetDeleted() bool
}

// assigned refuses a new record that sets what the ERP assigns.
func assigned(object string, h head) error {
	switch {
	case h.GetId() != "":
		return notWritable(object + ".id")
	case h.GetVersion() != 0:
		return notWritable(object + ".version")
	case h.GetCreateTime() != nil:
		return notWritable(object + ".create_time")
	case h.GetUpdateTime() != nil:
		return notWritable(object + ".update_time")
	case h.GetDeleted():
		return notWritable(object + ".deleted")
	}
	return nil
}

func notWritable(path string) error {
	return fault.InvalidField(path, ReasonOutputOnly, "the ERP assigns this field")
}

func noID(object string) error {
	return fault.InvalidField(object+".id", erp.ReasonRequired, "the id says which record to change")
}

func toCustomer(m *erpv1.Customer) erp.Customer {
	c := erp.Customer{
		Head:   erp.Head{ID: m.GetId(), Refs: each(m.GetRefs(), toRef)},
		Number: m.GetNumber(), Kind: erp.CustomerKind(m.GetKind()), Name: m.GetName(), //nolint:gosec // validated enums
		Email: m.GetEmail(), Phone: m.GetPhone(), Website: m.GetWebsite(), Language: m.GetLanguage(), Currency: m.GetCurrency(),
		PaymentTerms: m.GetPaymentTerms(), OrderBlock: m.GetOrderBlock(), Extensions: maps.Clone(m.GetExtensions()),
	}
	for _, t := range m.GetTaxIds() {
		c.TaxIDs = append(c.TaxIDs, erp.TaxID{Scheme: t.GetScheme(), Value: t.GetValue()})
	}
	for _, a := range m.GetAddresses() {
		c.Addresses = append(c.Addresses, erp.Address{
			Usage: erp.Usage(a.GetUsage()), Street: a.GetStreet(), City: a.GetCity(), //nolint:gosec // validated enum
			PostalCode: a.GetPostalCode(), Region: a.GetRegion(), Country: a.GetCountry(),
		})
	}
	return c
}

func fromCustomer(c erp.Customer) *erpv1.Customer {
	m := &erpv1.Customer{
		Id: c.ID, Number: c.Number, Refs: each(c.Refs, fromRef), Kind: erpv1.CustomerKind(c.Kind), Name: c.Name,
		Email: c.Email, Phone: c.Phone, Website: c.Website, Language: c.Language, Currency: c.Currency,
		PaymentTerms: c.PaymentTerms, OrderBlock: c.OrderBlock, Version: c.Version, CreateTime: fromTime(c.Created),
		UpdateTime: fromTime(c.Updated), Deleted: c.Deleted, Extensions: maps.Clone(c.Extensions), MergedInto: c.MergedInto,
	}
	for _, t := range c.TaxIDs {
		m.TaxIds = append(m.TaxIds, &erpv1.TaxId{Scheme: t.Scheme, Value: t.Value})
	}
	for _, a := range c.Addresses {
		m.Addresses = append(m.Addresses, &erpv1.Address{
			Usage: erpv1.AddressUsage(a.Usage), Street: a.Street, City: a.City, PostalCode: a.PostalCode, Region: a.Region,
			Country: a.Country,
		})
	}
	return m
}

func toContact(m *erpv1.Contact) erp.Contact {
	return erp.Contact{
		Head:       erp.Head{ID: m.GetId(), Refs: each(m.GetRefs(), toRef)},
		CustomerID: m.GetCustomerId(), FirstName: m.GetFirstName(), LastName: m.GetLastName(), Title: m.GetTitle(),
		Department: m.GetDepartment(), Email: m.GetEmail(), Phone: m.GetPhone(), Mobile: m.GetMobile(), Language: m.GetLanguage(),
	}
}

func fromContact(c erp.Contact) *erpv1.Contact {
	return &erpv1.Contact{
		Id: c.ID, Refs: each(c.Refs, fromRef), CustomerId: c.CustomerID, FirstName: c.FirstName, LastName: c.LastName,
		Title: c.Title, Department: c.Department, Email: c.Email, Phone: c.Phone, Mobile: c.Mobile, Language: c.Language,
		Version: c.Version, CreateTime: fromTime(c.Created), UpdateTime: fromTime(c.Updated), Deleted: c.Deleted,
	}
}

// toMoney reads an amount. Neither part alone is one.
func toMoney(m *erpv1.Money, path string) (erp.Money, error) {
	if m.GetAmount() == "" && m.GetCurrency() == "" {
		return erp.Money{}, nil
	}
	if m.GetCurrency() == "" {
		return erp.Money{}, fault.InvalidField(path+".currency", erp.ReasonRequired, "an amount has a currency")
	}
	amount, err := toDecimal(m.GetAmount(), path+".amount")
	return erp.Money{Amount: amount, Currency: m.GetCurrency()}, err
}

func toDecimal(s, path string) (erp.Decimal, error) {
	d, err := erp.ParseDecimal(s)
	if err != nil {
		return d, fault.InvalidField(path, "", "not a decimal number")
	}
	return d, nil
}

func fromMoney(m erp.Money) *erpv1.Money {
	if !m.Given() {
		return nil
	}
	return &erpv1.Money{Amount: m.Text(), Currency: m.Currency}
}
