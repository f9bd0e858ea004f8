package idempotent_test

import (
	"context"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

// A handler with two effects: what an attempt has done is not done again by the one that takes over.
func ExampleStep() {
	if err := registerContract(); err != nil {
		fmt.Println(err)
		return
	}
	clock := idempotenttest.NewClock()
	ic := idempotent.UnaryServer(idempotent.NewMemoryStore(clock.Now), idempotent.Options{})
	crash := true
	handler := func(ctx context.Context, _ any) (any, error) {
		order, err := idempotent.Step(ctx, "erp.order", func(context.Context) ([]byte, error) {
			fmt.Println("places the order")
			return []byte("4711"), nil
		})
		if err != nil {
			return nil, err
		}
		if crash {
			return nil, fmt.Errorf("the process dies")
		}
		fmt.Println("books the technician for order", string(order))
		return succeed("done")(ctx, nil)
	}
	_, err := direct(context.Background(), ic, "Recoverable", "one-intention", handler)
	fmt.Println(err != nil)
	crash = false
	clock.Advance(time.Minute)
	_, err = direct(context.Background(), ic, "Recoverable", "one-intention", handler)
	fmt.Println(err)
	// Output:
	// places the order
	// true
	// books the technician for order 4711
	// <nil>
}
