package stories

import (
	"errors"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// compareVerb asks for a comparison of every value of a system that repairs what it finds, and does not wait for its end.
func compareVerb(c *call, args []string) error {
	if len(args) != 1 {
		return errors.New("say which system")
	}
	res, err := c.demo.Operations.StartReconciliation(c.ctx, &customerv1.StartReconciliationRequest{System: args[0], Deep: true, Values: true, Repair: true})
	if err == nil && !res.GetStarted() {
		return errors.New("another comparison is under way")
	}
	return err
}
