package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

func TestSubject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resp              proto.Message
		subject, resource string
	}{
		"a customer's answer is about the customer": {
			&erpv1.CreateCustomerResponse{Customer: &erpv1.Customer{Id: "C-1"}}, "C-1", "customers/C-1",
		},
		"a contact's answer is about the contact, whose customer may stay": {
			&erpv1.CreateContactResponse{Contact: &erpv1.Contact{Id: "P-1", CustomerId: "C-1"}}, "P-1", "contacts/P-1",
		},
		"an answer without a record is about nobody": {&erpv1.CreateCustomerResponse{}, "", ""},
		"other answers are about nobody":             {&erpv1.ListCustomersResponse{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.subject, Subject("", nil, c.resp))
			require.Equal(t, c.resource, Resource(c.resp))
		})
	}
}
