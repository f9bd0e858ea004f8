package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// pollErasure is how often an erasure is asked for how far it is.
const pollErasure = 200 * time.Millisecond

const eraseHelp = `selfsame erase customer/ID --reason WHY      forget a customer or contact, here and in every system
selfsame erase list [--open]                 what was erased, and what is not done
selfsame erase show ID                       one erasure, by its id or that of the record
selfsame erase receipt ID > FILE             the signed receipt
selfsame erase verify FILE                   whether a receipt is as it was signed, by the key in it
`

func eraseCommand(ctx context.Context, a *App, args []string) error {
	if len(args) == 0 {
		return usagef("give customer/ID or contact/ID, or list, show, receipt or verify")
	}
	switch args[0] {
	case "list":
		return eraseList(ctx, a, args[1:])
	case "show", "receipt":
		return eraseShow(ctx, a, args[0], args[1:])
	case "verify":
		return eraseVerify(a, args[1:])
	case "-h", "--help":
		return a.printf("%s", eraseHelp)
	}
	c := a.flags("erase").withAddr()
	req := &customerv1.EraseRecordRequest{}
	c.StringVar(&req.Reason, "reason", "", "why; kept, so it must not name the person")
	c.BoolVar(&req.WithContacts, "with-contacts", false, "erase the contacts of a customer, too")
	only := c.String("only", "", "only what these `systems` hold and say, with commas; the golden record lives on")
	wait := c.Bool("wait", false, "wait until every system has erased it")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || req.GetReason() == "" {
		return usagef("give one customer/ID or contact/ID, and --reason")
	}
	req.Id = bare(rest[0])
	if *only != "" {
		req.Systems = strings.Split(*only, ",")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		res, err := o.EraseRecord(ctx, req)
		if err != nil {
			return err
		}
		for i, e := range res.GetErasures() {
			for *wait && e.GetState() != "DONE" {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(pollErasure):
				}
				got, err := o.GetErasure(ctx, &customerv1.GetErasureRequest{Id: e.GetId()})
				if err != nil {
					return err
				}
				e = got.GetErasure()
			}
			res.Erasures[i] = e
		}
		if c.output == "json" {
			return a.json(res)
		}
		return a.erasures(res.GetErasures())
	})
}

func (a *App) erasures(list []*customerv1.Erasure) error {
	rows := [][]string{{"ERASURE", "RECORD", "FROM", "STATE", "ASKED", "BY", "WAITS FOR", "REFUSED CHANGES"}}
	for _, e := range list {
		var waits []string
		for _, s := range e.GetSteps() {
			if s.GetState() != "DONE" {
				waits = append(waits, strings.TrimSpace(s.GetSystem()+" "+s.GetReason()))
			}
		}
		rows = append(rows, []string{
			e.GetId(), e.GetObject() + "/" + e.GetGoldenId(), or(strings.Join(e.GetSystems(), ","), "everywhere"), e.GetState(), ago(e.GetRequestTime()),
			or(e.GetActor(), "-"), or(strings.Join(waits, "; "), "-"), number(e.GetRefusedChanges()),
		})
	}
	return a.table(rows)
}

func eraseList(ctx context.Context, a *App, args []string) error {
	c := a.flags("erase list").withAddr()
	req := &customerv1.ListErasuresRequest{PageSize: 500}
	c.BoolVar(&req.OpenOnly, "open", false, "only those that are not done")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("there is nothing to name")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		all := &customerv1.ListErasuresResponse{}
		err := pages(func(token string) (*customerv1.ListErasuresResponse, error) {
			req.PageToken = token
			return o.ListErasures(ctx, req)
		}, func(res *customerv1.ListErasuresResponse) { all.Erasures = append(all.Erasures, res.GetErasures()...) })
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(all)
		}
		return a.erasures(all.GetErasures())
	})
}

// receiptFile is a receipt with what it is checked by.
type receiptFile struct {
	Receipt   string `json:"receipt"`
	Signature []byte `json:"signature"`
	PublicKey []byte `json:"public_key"`
}

func eraseShow(ctx context.Context, a *App, what string, args []string) error {
	c := a.flags("erase " + what).withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give the id of an erasure, or of the record that was erased")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		res, err := o.GetErasure(ctx, &customerv1.GetErasureRequest{Id: bare(rest[0])})
		if err != nil {
			return err
		}
		e := res.GetErasure()
		switch {
		case what == "receipt" && e.GetReceipt() == "":
			return fmt.Errorf("the erasure is not done: %s", e.GetState())
		case what == "receipt":
			return a.json(receiptFile{e.GetReceipt(), e.GetSignature(), e.GetPublicKey()})
		case c.output == "json":
			return a.json(res)
		}
		return a.erasures([]*customerv1.Erasure{e})
	})
}

// eraseVerify needs no running suite: the key is in the file. Whether it is the right key is seen by comparing it with the one
// noted before.
func eraseVerify(a *App, args []string) error {
	rest, err := a.flags("erase verify").parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give the file of a receipt")
	}
	text, err := os.ReadFile(rest[0])
	if err != nil {
		return fmt.Errorf("read receipt: %w", err)
	}
	var f receiptFile
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%s is no receipt: %w", args[0], err)
	}
	if len(f.PublicKey) != ed25519.PublicKeySize || !ed25519.Verify(f.PublicKey, []byte(f.Receipt), f.Signature) {
		if err := a.printf("The receipt is not what was signed.\n"); err != nil {
			return err
		}
		return errSilent
	}
	return a.printf("The receipt is as it was signed, by the key %x.\n%s\n", f.PublicKey, f.Receipt)
}
