package view_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/view"
)

func customer() *customerv1.Customer {
	return &customerv1.Customer{
		Id: "c_1", Name: "Muster GmbH", TaxId: "DE1", Email: "a@example.com", Phone: "1", Website: "example.com", Segment: "A",
		ErpNumber: "17", Etag: "42", CreateTime: timestamppb.New(time.Unix(1, 0)), UpdateTime: timestamppb.New(time.Unix(2, 0)),
		Address: &customerv1.Address{Street: "S 1", City: "Bonn", PostalCode: "53111", Region: "NW", Country: "DE"},
		Sources: []*customerv1.SourceRecord{
			{System: "salesforce", RecordId: "1", Pending: true},
			{System: "erp", Pending: false},
			{System: "salesforce", RecordId: "2", Pending: true},
			{System: "crm2", Pending: true},
		},
	}
}

func screen() *customerv1.GetCustomerViewResponse {
	return &customerv1.GetCustomerViewResponse{
		Customer:     customer(),
		Orders:       []*customerv1.OrderSummary{{Id: "1", State: "RECEIVED", Fulfilment: "NONE", Billing: "FULL", TotalAmount: "9.90", TotalCurrency: "EUR", ItemCount: 3}},
		Cases:        []*customerv1.CaseSummary{{Id: "500", Number: "00001", Subject: "s", Status: "New", Priority: "High"}},
		Warranties:   []*customerv1.WarrantySummary{{SerialNumber: "SN", Sku: "P1", Status: "ACTIVE"}},
		OrdersStatus: &customerv1.SectionStatus{System: "erp", State: customerv1.SectionState_SECTION_STATE_OK, AsOf: timestamppb.New(time.Unix(5, 0))},
		CasesStatus:  &customerv1.SectionStatus{System: "salesforce", State: customerv1.SectionState_SECTION_STATE_UNAVAILABLE, Reason: "TIMEOUT"},
	}
}

func TestCustomer(t *testing.T) {
	t.Parallel()
	got := view.Customer(customer())

	t.Run("every field a client may write goes there and back unchanged", func(t *testing.T) {
		t.Parallel()
		back := view.Writable(got)
		want := customer()
		want.Id, want.ErpNumber, want.Etag, want.CreateTime, want.UpdateTime, want.Sources = "", "", "", nil, nil, nil
		require.True(t, proto.Equal(want, back), back)
	})
	t.Run("fields of the service are shown", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "c_1", got.GetCustomerId())
		require.Equal(t, "17", got.GetErpNumber())
		require.Equal(t, int64(1), got.GetCreateTime().GetSeconds())
		require.Equal(t, int64(2), got.GetUpdateTime().GetSeconds())
	})
	t.Run("a pending system is named once, in order", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"crm2", "salesforce"}, got.GetPendingSystems())
	})
	t.Run("nothing of the customer shows nothing and has no tag", func(t *testing.T) {
		t.Parallel()
		require.True(t, proto.Equal(&mobilev1.Customer{}, view.Customer(nil)))
	})
}

func TestScreen(t *testing.T) {
	t.Parallel()
	got := view.Screen(screen())
	require.Equal(t, "9.90", got.GetOrders()[0].GetTotal().GetAmount())
	require.Equal(t, int32(3), got.GetOrders()[0].GetItemCount())
	require.Equal(t, "00001", got.GetCases()[0].GetNumber())
	require.Equal(t, "SN", got.GetWarranties()[0].GetSerialNumber())
	require.Len(t, got.GetSources(), 2, "a section that was not asked for has no source")
	require.Equal(t, "OK", got.GetSources()[0].GetState())
	require.Equal(t, "UNAVAILABLE", got.GetSources()[1].GetState())
	require.Equal(t, "TIMEOUT", got.GetSources()[1].GetReason())
	local := view.Screen(&customerv1.GetCustomerViewResponse{Customer: customer()})
	require.True(t, proto.Equal(view.Customer(customer()), local))
}

func TestTag(t *testing.T) {
	t.Parallel()
	base := view.Screen(screen()).GetEtag()
	change := func(do func(*customerv1.GetCustomerViewResponse)) string {
		v := screen()
		do(v)
		return view.Screen(v).GetEtag()
	}
	t.Run("it is the same for the same content, whenever that was read", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, base, change(func(v *customerv1.GetCustomerViewResponse) { v.OrdersStatus.AsOf = timestamppb.Now() }))
	})
	for name, do := range map[string]func(*customerv1.GetCustomerViewResponse){
		"the version":          func(v *customerv1.GetCustomerViewResponse) { v.Customer.Etag = "43" },
		"an order":             func(v *customerv1.GetCustomerViewResponse) { v.Orders[0].State = "COMPLETED" },
		"a delivery":           func(v *customerv1.GetCustomerViewResponse) { v.Customer.Sources[3].Pending = false },
		"a section that fails": func(v *customerv1.GetCustomerViewResponse) { v.OrdersStatus.State++ },
	} {
		t.Run("it changes with "+name, func(t *testing.T) {
			t.Parallel()
			require.NotEqual(t, base, change(do))
		})
	}
	t.Run("it leads back to the version", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "42", view.Version(base))
		odd := screen()
		odd.Customer.Etag = "a~b~0123456789ab"
		require.Equal(t, "a~b~0123456789ab", view.Version(view.Screen(odd).GetEtag()))
	})
	t.Run("another text stays as it is", func(t *testing.T) {
		t.Parallel()
		for _, tag := range []string{"", "42", "old", "a~b", "a~0123456789AB", "W/42~0123456789xy"} {
			require.Equal(t, tag, view.Version(tag))
		}
		require.Equal(t, "W/42", view.Version("W/"+base), "a weak tag keeps its mark, so it never matches")
	})
}

func TestMask(t *testing.T) {
	t.Parallel()
	mask, refused := view.Mask([]string{"phone", "address.city", "name", "address.street", "address"})
	require.Equal(t, []string{"address", "name", "phone"}, mask)
	require.Empty(t, refused)
	mask, refused = view.Mask([]string{"phone", "address.postal_code", "address.city", "phone"})
	require.Equal(t, []string{"address.city", "address.postal_code", "phone"}, mask)
	require.Empty(t, refused)
	mask, refused = view.Mask([]string{"etag", "customer_id", "orders", "unknown", "email", "address.planet"})
	require.Equal(t, []string{"email"}, mask)
	require.Equal(t, []string{"etag", "customer_id", "orders", "unknown", "address.planet"}, refused)
	fields := (&mobilev1.Customer{}).ProtoReflect().Descriptor().Fields()
	writable := 0
	for i := range fields.Len() {
		if m, _ := view.Mask([]string{string(fields.Get(i).Name())}); len(m) == 1 {
			writable++
			require.NotNil(t, (&customerv1.Customer{}).ProtoReflect().Descriptor().Fields().ByName(fields.Get(i).Name()))
		}
	}
	require.Equal(t, 7, writable)
}
