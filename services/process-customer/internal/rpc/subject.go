package rpc

import (
	"strings"

	"google.golang.org/protobuf/proto"
)

// Subject names whose data an answer holds, so that it can be erased with them: the customer's id.
func Subject(_ string, _, resp proto.Message) string {
	customer, _, _ := strings.Cut(strings.TrimPrefix(Resource(resp), "customers/"), "/")
	return customer
}
