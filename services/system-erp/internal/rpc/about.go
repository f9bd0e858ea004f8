package rpc

import (
	"google.golang.org/protobuf/proto"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

// Resource names what an answer is about; it is remembered longer than the answer. Without a record in it, "".
func Resource(resp proto.Message) string {
	switch m := resp.(type) {
	case *erpv1.CreateCustomerResponse:
		return named("customers/", m.GetCustomer().GetId())
	case *erpv1.CreateContactResponse:
		return named("contacts/", m.GetContact().GetId())
	}
	return ""
}

func named(collection, id string) string {
	if id == "" {
		return ""
	}
	return collection + id
}

// Subject is the id of the record that an answer holds. When the record is deleted, or merged into another, so is what answers
// hold of it.
func Subject(_ string, _, resp proto.Message) string {
	switch m := resp.(type) {
	case *erpv1.CreateCustomerResponse:
		return m.GetCustomer().GetId()
	case *erpv1.CreateContactResponse:
		return m.GetContact().GetId()
	}
	return ""
}
