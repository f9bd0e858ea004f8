package inbox_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent/inbox"
)

// A consumer whose effect is in its own database: the broker delivers twice, the handler runs once.
func ExampleInbox_Handle() {
	ctx := context.Background()
	d, err := db.Open(ctx, "sqlite::memory:", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = d.Close() }()
	in, err := inbox.New(d, "billing", inbox.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	message := inbox.Message{ID: "event-42", Object: "invoice/7", Version: inbox.Version{Major: 3}, Body: []byte(`{"paid":true}`)}
	for range 2 {
		verdict, err := in.Handle(ctx, message, func(context.Context, *sql.Tx) error {
			fmt.Println("the invoice is paid") // in tx, with the record of the message
			return nil
		})
		fmt.Println(verdict, err)
	}
	older := message
	older.ID, older.Version.Major = "event-41", 2
	verdict, err := in.Handle(ctx, older, func(context.Context, *sql.Tx) error { return nil })
	fmt.Println(verdict, err)
	// Output:
	// the invoice is paid
	// processed <nil>
	// duplicate <nil>
	// stale <nil>
}

// A consumer whose effect is elsewhere: every delivery calls under the same key, and the target does the last yard.
func ExampleInbox_Call() {
	ctx := context.Background()
	d, err := db.Open(ctx, "sqlite::memory:", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = d.Close() }()
	in, err := inbox.New(d, "shipping", inbox.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	message := inbox.Message{ID: "order-9 placed"}
	parcels := map[string]bool{}
	for _, failure := range []error{fmt.Errorf("the answer was lost"), nil} {
		verdict, err := in.Call(ctx, message, func(context.Context) error {
			parcels[in.Key(message)] = true // the carrier knows the key
			return failure
		})
		fmt.Println(verdict, err != nil)
	}
	fmt.Println(len(parcels), "parcel")
	// Output:
	// none true
	// processed false
	// 1 parcel
}
