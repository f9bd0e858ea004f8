package stories

import (
	"errors"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// selectionVerb previews the open dead letters of a system and puts the selection into $SELECTION.
func selectionVerb(c *call, args []string) error {
	if len(args) != 1 {
		c.ts.Fatalf("usage: selection SYSTEM")
	}
	res, err := c.demo.Operations.PreviewDeadLetters(c.ctx, &customerv1.PreviewDeadLettersRequest{System: args[0]})
	if err != nil {
		return err
	}
	if res.GetSelection() == "" {
		return errors.New("there is no open dead letter")
	}
	c.ts.Setenv("SELECTION", res.GetSelection())
	return nil
}
