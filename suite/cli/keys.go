package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
)

// keyFlags are the flags of "keys".
type keyFlags struct {
	*common
	service, states, method, operator, reason *string
	older                                     *time.Duration
	force                                     *bool
}

// keysCommand looks at idempotency keys and settles them: keys list, show DIGEST, release DIGEST, expire DIGEST,
// erase CUSTOMER, log, stats.
func keysCommand(ctx context.Context, a *App, args []string) error {
	c := keyFlags{common: a.flags("keys").withAddr()}
	c.service = c.String("service", "process-customer", "whose keys: process-customer, system-erp or system-salesforce (with a demo)")
	c.states = c.String("in", "", "only in these `states`: claimed, done, released, uncertain, tombstone; with commas")
	c.method = c.String("method", "", "only of this full `method`")
	c.older = c.Duration("older", 0, "only those whose last attempt began so long ago")
	c.operator = c.String("operator", "", "who you are; the name of your account when not given")
	c.reason = c.String("reason", "", "why; kept")
	c.force = c.Bool("force", false, "release although the owner still works: its effect may still happen")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	verb := "list"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	switch verb {
	case "list", "log", "stats":
		if len(rest) > 0 {
			return usagef("%s takes no arguments", verb)
		}
	case "show", "release", "expire":
		if len(rest) != 1 {
			return usagef("give one digest, or how it begins")
		}
	case "erase":
		if len(rest) != 1 {
			return usagef("give whose answers are erased: a customer's id")
		}
	default:
		return usagef("%q is none of list, show, release, expire, erase, log, stats", verb)
	}
	if (verb == "release" || verb == "expire" || verb == "erase") && *c.reason == "" {
		return usagef("%s needs --reason", verb)
	}
	return c.desk(ctx, func(k idempotencyv1.KeysServiceClient) error {
		switch verb {
		case "show":
			return a.showKey(ctx, k, c, rest[0])
		case "release", "expire":
			return a.settleKey(ctx, k, c, verb, rest[0])
		case "erase":
			return a.eraseAnswers(ctx, k, c, rest[0])
		case "log":
			return a.listInterventions(ctx, k, c)
		case "stats":
			return a.keyStats(ctx, k, c)
		}
		return a.listKeys(ctx, k, c)
	})
}

// desk calls the KeysService at --addr or of the service in the demo.
func (c keyFlags) desk(ctx context.Context, do func(idempotencyv1.KeysServiceClient) error) (err error) {
	addr := c.addr
	if addr == "" {
		d, err := c.open(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		switch *c.service {
		case "process-customer":
			return do(idempotencyv1.NewKeysServiceClient(d.Process))
		case "system-erp":
			return do(idempotencyv1.NewKeysServiceClient(d.ERP))
		case "system-salesforce":
			addr = d.State.GRPC["system-salesforce"]
		default:
			return usagef("%q keeps no keys; process-customer, system-erp and system-salesforce do", *c.service)
		}
	}
	conn, err := c.dial(addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return do(idempotencyv1.NewKeysServiceClient(conn))
}

// find returns the record with this digest, or the only one whose digest begins so.
func find(ctx context.Context, k idempotencyv1.KeysServiceClient, text string) (*idempotencyv1.Key, error) {
	if len(text) == 64 {
		got, err := k.GetKey(ctx, &idempotencyv1.GetKeyRequest{Digest: text})
		return got.GetKey(), err
	}
	if len(text) < 4 || len(text)%2 != 0 {
		return nil, usagef("a digest begins with an even number of digits, at least four")
	}
	var found []*idempotencyv1.Key
	for token := ""; ; {
		got, err := k.ListKeys(ctx, &idempotencyv1.ListKeysRequest{Prefix: text, PageSize: 10, PageToken: token})
		if err != nil {
			return nil, err
		}
		found = append(found, got.GetKeys()...)
		if token = got.GetNextPageToken(); token == "" || len(found) > 1 {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no record begins with %s", text)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("several records begin with %s: give more digits", text)
}

func (a *App) listKeys(ctx context.Context, k idempotencyv1.KeysServiceClient, c keyFlags) error {
	req := &idempotencyv1.ListKeysRequest{PageSize: 500, Method: *c.method}
	for _, name := range strings.FieldsFunc(*c.states, func(r rune) bool { return r == ',' }) {
		n, ok := idempotencyv1.KeyState_value["KEY_STATE_"+strings.ToUpper(name)]
		if !ok || n == 0 {
			return usagef("%q is none of claimed, done, released, uncertain, tombstone", name)
		}
		req.States = append(req.States, idempotencyv1.KeyState(n))
	}
	if *c.older > 0 {
		req.ClaimedBefore = timestamppb.New(time.Now().Add(-*c.older))
	}
	all := &idempotencyv1.ListKeysResponse{}
	err := pages(func(token string) (*idempotencyv1.ListKeysResponse, error) {
		req.PageToken = token
		return k.ListKeys(ctx, req)
	}, func(got *idempotencyv1.ListKeysResponse) { all.Keys = append(all.Keys, got.GetKeys()...) })
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(all)
	}
	if len(all.GetKeys()) == 0 {
		return a.printf("no keys\n")
	}
	slices.SortFunc(all.GetKeys(), func(x, y *idempotencyv1.Key) int { return y.GetClaimTime().AsTime().Compare(x.GetClaimTime().AsTime()) })
	rows := [][]string{{"DIGEST", "STATE", "METHOD", "ATTEMPT", "CLAIMED", "RESOURCE", "TRACE"}}
	for _, key := range all.GetKeys() {
		rows = append(rows, []string{
			key.GetDigest()[:16], keyState(key), key.GetMethod(), number(key.GetAttempt()), ago(key.GetClaimTime()), or(key.GetResource(), "-"), or(key.GetTraceId(), "-"),
		})
	}
	return a.table(rows)
}

// keyState is a word for where a record stands; a claim whose owner vanished has one of its own.
func keyState(k *idempotencyv1.Key) string {
	state := strings.ToLower(strings.TrimPrefix(k.GetState().String(), "KEY_STATE_"))
	if k.GetState() == idempotencyv1.KeyState_KEY_STATE_CLAIMED && k.GetLeaseUntil().AsTime().Before(time.Now()) {
		return "abandoned"
	}
	return state
}

func (a *App) showKey(ctx context.Context, k idempotencyv1.KeysServiceClient, c keyFlags, text string) error {
	key, err := find(ctx, k, text)
	if err != nil {
		return err
	}
	got, err := k.GetKey(ctx, &idempotencyv1.GetKeyRequest{Digest: key.GetDigest()})
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(got)
	}
	key = got.GetKey()
	rows := [][]string{
		{"digest", key.GetDigest()},
		{"method", key.GetMethod()},
		{"state", keyState(key)},
		{"attempt", number(key.GetAttempt())},
		{"claimed", ago(key.GetClaimTime())},
		{"lease until", or(timeText(key.GetLeaseUntil()), "-")},
		{"goes", or(timeText(key.GetExpireTime()), "-")},
		{"answer", fmt.Sprintf("%d bytes, ok %v", key.GetBytes(), key.GetOk())},
		{"resource", or(key.GetResource(), "-")},
		{"trace", or(key.GetTraceId(), "-")},
	}
	if err := a.table(rows); err != nil || len(got.GetInterventions()) == 0 {
		return err
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.interventions(got.GetInterventions())
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339)
}

func (a *App) settleKey(ctx context.Context, k idempotencyv1.KeysServiceClient, c keyFlags, verb, text string) error {
	key, err := find(ctx, k, text)
	if err != nil {
		return err
	}
	operator, err := c.who()
	if err != nil {
		return err
	}
	var now *idempotencyv1.Key
	if verb == "release" {
		got, err := k.ReleaseKey(ctx, &idempotencyv1.ReleaseKeyRequest{
			Digest: key.GetDigest(), Attempt: key.GetAttempt(), Force: *c.force, Operator: operator, Reason: *c.reason,
		})
		if err != nil {
			return err
		}
		now = got.GetKey()
	} else {
		got, err := k.ExpireKey(ctx, &idempotencyv1.ExpireKeyRequest{Digest: key.GetDigest(), Operator: operator, Reason: *c.reason})
		if err != nil {
			return err
		}
		now = got.GetKey()
	}
	if c.output == "json" {
		return a.json(now)
	}
	return a.printf("%s %s\n", now.GetDigest()[:16], keyState(now))
}

// who is the operator: as given, or the name of the account.
func (c keyFlags) who() (string, error) {
	if *c.operator != "" {
		return *c.operator, nil
	}
	if me, err := user.Current(); err == nil && me.Username != "" {
		return me.Username, nil
	}
	return "", usagef("say who you are: --operator")
}

func (a *App) eraseAnswers(ctx context.Context, k idempotencyv1.KeysServiceClient, c keyFlags, subject string) error {
	operator, err := c.who()
	if err != nil {
		return err
	}
	got, err := k.EraseAnswers(ctx, &idempotencyv1.EraseAnswersRequest{Subject: bare(subject), Operator: operator, Reason: *c.reason})
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(got)
	}
	return a.printf("%d answers erased\n", got.GetErased())
}

func (a *App) listInterventions(ctx context.Context, k idempotencyv1.KeysServiceClient, c keyFlags) error {
	got, err := k.ListInterventions(ctx, &idempotencyv1.ListInterventionsRequest{PageSize: 500})
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(got)
	}
	if len(got.GetInterventions()) == 0 {
		return a.printf("no interventions\n")
	}
	return a.interventions(got.GetInterventions())
}

func (a *App) interventions(list []*idempotencyv1.Intervention) error {
	rows := [][]string{{"TIME", "ACTION", "DIGEST", "ATTEMPT", "OPERATOR", "CALLER", "DONE", "REASON"}}
	for _, i := range list {
		rows = append(rows, []string{
			timeText(i.GetTime()), i.GetAction(), or(i.GetDigest()[:min(16, len(i.GetDigest()))], "-"), number(i.GetAttempt()), i.GetOperator(), i.GetCaller(), fmt.Sprint(i.GetDone()), i.GetReason(),
		})
	}
	return a.table(rows)
}

func (a *App) keyStats(ctx context.Context, k idempotencyv1.KeysServiceClient, c keyFlags) error {
	got, err := k.GetKeyStats(ctx, &idempotencyv1.GetKeyStatsRequest{})
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(got)
	}
	seconds := func(s float64) string { return time.Duration(s * float64(time.Second)).Truncate(time.Second).String() }
	return a.table([][]string{
		{"records", number(got.GetRecords())},
		{"bytes", number(got.GetBytes())},
		{"open", fmt.Sprintf("%d, the oldest %s", got.GetOpen(), seconds(got.GetOldestOpenSeconds()))},
		{"abandoned", number(got.GetAbandoned())},
		{"uncertain", fmt.Sprintf("%d, the oldest %s", got.GetUncertain(), seconds(got.GetOldestUncertainSeconds()))},
	})
}
