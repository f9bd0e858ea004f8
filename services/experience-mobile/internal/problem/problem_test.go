package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

const reference = "../../../../docs/reference/rest-errors.md"

func where(f fault.Field) problem.Violation { return problem.At("/"+f.Path, f.Reason, f.Description) }

func TestCatalogue(t *testing.T) {
	t.Parallel()
	t.Run("every code is complete, well-formed and there once", func(t *testing.T) {
		t.Parallel()
		seen := map[string]bool{}
		for _, e := range problem.Catalogue() {
			require.Regexp(t, `^[A-Z][A-Z0-9_]+$`, e.Code)
			require.False(t, seen[e.Code], e.Code)
			seen[e.Code] = true
			require.NotEmpty(t, e.Title, e.Code)
			require.NotEmpty(t, e.Detail, e.Code)
			require.NotEmpty(t, e.Action, e.Code)
			require.GreaterOrEqual(t, e.Status, 400, e.Code)
			if e.Status == 503 {
				require.Positive(t, e.RetrySeconds, e.Code)
				require.True(t, e.Retryable, e.Code)
			}
		}
	})
	t.Run("the reference is what the catalogue says; run the test with UPDATE=1 to write it", func(t *testing.T) {
		t.Parallel()
		if os.Getenv("UPDATE") == "1" {
			require.NoError(t, os.WriteFile(reference, []byte(problem.Reference()), 0o644))
		}
		page, err := os.ReadFile(reference)
		require.NoError(t, err)
		require.Equal(t, string(page), problem.Reference())
	})
}

func TestFromError(t *testing.T) {
	t.Parallel()
	table := problem.NewTable()
	for reason, want := range map[string]struct {
		kind      fault.Kind
		status    int
		retryable bool
	}{
		idempotent.ReasonKeyMissing:       {fault.Invalid, 400, false},
		idempotent.ReasonKeyInvalid:       {fault.Invalid, 400, false},
		idempotent.ReasonKeyReused:        {fault.Precondition, 422, false},
		idempotent.ReasonKeyExpired:       {fault.Precondition, 412, false},
		idempotent.ReasonInProgress:       {fault.Conflict, 409, true},
		idempotent.ReasonResultGone:       {fault.Precondition, 410, false},
		idempotent.ReasonStoreUnavailable: {fault.Unavailable, 503, true},
		fault.ReasonETagMismatch:          {fault.Conflict, 412, false},
		fault.ReasonOutcomeUncertain:      {fault.Uncertain, 409, true},
		fault.ReasonDeadlineTooShort:      {fault.Timeout, 504, true},
		fault.ReasonPageTokenInvalid:      {fault.Invalid, 400, false},
		"NEW_REASON_FROM_BELOW":           {fault.NotFound, 404, false},
		"ANOTHER_CONFLICT":                {fault.Conflict, 409, true},
	} {
		t.Run("over the wire, "+reason+" keeps its code and gets its status", func(t *testing.T) {
			t.Parallel()
			p := table.FromError(fault.ToStatus(fault.New(want.kind, reason, "told to the caller")).Err(), where)
			require.Equal(t, want.status, p.Status)
			require.Equal(t, reason, p.Code)
			require.Equal(t, want.retryable, p.Retryable)
			if p.Status < 500 {
				require.Equal(t, "Told to the caller.", p.Detail)
			} else {
				require.NotContains(t, p.Detail, "told")
			}
		})
	}
	t.Run("a text is a sentence, and ends once", func(t *testing.T) {
		t.Parallel()
		for text, want := range map[string]string{"gone": "Gone.", "is it gone?": "Is it gone?", "there is more…": "There is more…", "straße 7 ½": "Straße 7 ½.", "größe": "Größe."} {
			require.Equal(t, want, table.FromError(fault.ToStatus(fault.New(fault.NotFound, fault.ReasonOf(fault.New(fault.NotFound, "", "")), "%s", text)).Err(), where).Detail)
		}
	})
	t.Run("a 5xx never tells what happened inside", func(t *testing.T) {
		t.Parallel()
		for _, k := range []fault.Kind{fault.Internal, fault.Unavailable, fault.Timeout, fault.Unimplemented, fault.Kind(99)} {
			p := table.FromError(fault.New(k, "SECRET_REASON", "secret at 10.0.0.3"), where)
			require.GreaterOrEqual(t, p.Status, 500)
			text, err := json.Marshal(p)
			require.NoError(t, err)
			require.NotContains(t, strings.ToLower(string(text)), "secret")
		}
	})
	t.Run("a text that no service of ours made is replaced, whatever its kind", func(t *testing.T) {
		t.Parallel()
		for code, want := range map[codes.Code]int{
			codes.InvalidArgument: 400, codes.NotFound: 404, codes.Aborted: 409, codes.FailedPrecondition: 409, codes.ResourceExhausted: 429,
			codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.AlreadyExists: 409, codes.Unavailable: 503,
			codes.DeadlineExceeded: 504, codes.Canceled: 499, codes.Internal: 500, codes.Unknown: 500, codes.DataLoss: 500, codes.Unimplemented: 501,
		} {
			p := table.FromError(status.Error(code, "proto: (line 1:15): secret"), where)
			require.Equal(t, want, p.Status, code)
			require.NotContains(t, p.Detail, "proto")
		}
		require.Equal(t, 500, table.FromError(errors.New("secret"), where).Status)
		require.Equal(t, 504, table.FromError(context.DeadlineExceeded, where).Status)
	})
	t.Run("violations are placed and counted", func(t *testing.T) {
		t.Parallel()
		e := fault.InvalidField("a", "R1", "one")
		e.Fields = append(e.Fields, fault.Field{Path: "b", Reason: "R2", Description: "two"})
		p := table.FromError(fault.ToStatus(e).Err(), where)
		require.Len(t, p.Errors, 2)
		require.Equal(t, "/b", *p.Errors[1].Pointer)
		require.Contains(t, p.Detail, "2 violations")
	})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	p := problem.NewTable().New(problem.IdempotencyInProgress, "")
	p.RetryAfter = 1500 * time.Millisecond
	problem.Write(w, p)
	require.Equal(t, 409, w.Code)
	require.Equal(t, "2", w.Header().Get("Retry-After"), "seconds are rounded up")
	require.Equal(t, "IDEMPOTENCY_IN_PROGRESS", w.Header().Get("X-Error-Code"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, problem.MediaType, w.Header().Get("Content-Type"))
	require.Equal(t, 500, problem.NewTable().New("NO_SUCH_CODE", "text").Status, "a forgotten entry is a defect, told as one")
}
