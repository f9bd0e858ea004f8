package cli

import (
	"context"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// ordersCommand looks at orders that wait for the ERP, and ends the waiting: orders list, cancel OPERATION.
func ordersCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("orders").withAddr()
	all := c.Bool("all", false, "those too that are done")
	reason := c.String("reason", "", "why it is called off; kept")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	verb := "list"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	switch {
	case verb == "list" && len(rest) == 0:
		return c.operations(ctx, func(o customerv1.OperationsServiceClient) error { return a.listOrders(ctx, o, c, *all) })
	case verb == "list":
		return usagef("list takes no arguments")
	case verb != "cancel":
		return usagef("%q is none of list, cancel", verb)
	case len(rest) != 1:
		return usagef("give one operation")
	case *reason == "":
		return usagef("cancel needs --reason")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		got, err := o.CancelQueuedOrder(ctx, &customerv1.CancelQueuedOrderRequest{OperationId: rest[0], Reason: *reason})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(got)
		}
		if err := a.orderTable([]*customerv1.QueuedOrder{got.GetOrder()}); err != nil {
			return err
		}
		if n := got.GetOrder().GetAttempts(); n > 0 {
			return a.printf("\nit was tried %d times and may have reached the ERP: look for the reference %s there\n", n, got.GetOrder().GetReference())
		}
		return nil
	})
}

func (a *App) listOrders(ctx context.Context, o customerv1.OperationsServiceClient, c *common, all bool) error {
	out := &customerv1.ListQueuedOrdersResponse{}
	err := pages(func(token string) (*customerv1.ListQueuedOrdersResponse, error) {
		return o.ListQueuedOrders(ctx, &customerv1.ListQueuedOrdersRequest{PageSize: 500, PageToken: token, Done: all})
	}, func(got *customerv1.ListQueuedOrdersResponse) { out.Orders = append(out.Orders, got.GetOrders()...) })
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(out)
	}
	if len(out.GetOrders()) == 0 {
		return a.printf("no orders wait\n")
	}
	return a.orderTable(out.GetOrders())
}

func (a *App) orderTable(orders []*customerv1.QueuedOrder) error {
	rows := [][]string{{"OPERATION", "STATE", "CUSTOMER", "LINES", "TAKEN", "TRIES", "NEXT TRY", "REASON"}}
	for _, q := range orders {
		o := q.GetOperation()
		state := "waits"
		switch {
		case o.GetOrder() != nil:
			state = "placed as " + o.GetOrder().GetId()
		case o.GetDone():
			state = "given up"
		}
		rows = append(rows, []string{
			o.GetId(), state, o.GetCustomerId(), number(int64(q.GetItems())), ago(o.GetCreateTime()), number(q.GetAttempts()), clock(o.GetNextTryTime()), or(o.GetReason(), "-"),
		})
	}
	return a.table(rows)
}
