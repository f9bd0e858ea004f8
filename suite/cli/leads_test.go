package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// importer is a service that knows one company.
type importer struct {
	customerv1.UnimplementedOperationsServiceServer
	asked []*customerv1.CheckLeadsRequest
	most  int    // calls that are answered; 0 means all
	mode  string // of matching
}

func (s *importer) CheckLeads(_ context.Context, req *customerv1.CheckLeadsRequest) (*customerv1.CheckLeadsResponse, error) {
	s.asked = append(s.asked, req)
	if s.most > 0 && len(s.asked) > s.most {
		return nil, grpcstatus.Error(codes.Unavailable, "gone")
	}
	res := &customerv1.CheckLeadsResponse{}
	for _, l := range req.GetLeads() {
		a := &customerv1.LeadAnswer{Answer: "NEW"}
		if l.GetCompany() == "Acme" {
			a.Answer, a.ContactId = "EXISTS", "p_7"
			a.Candidates = []*customerv1.LeadCandidate{{Customer: &customerv1.MatchSide{CustomerId: "c_1", Name: "ACME AG"}, Probability: 0.9999}}
		}
		res.Answers = append(res.Answers, a)
	}
	return res, nil
}

func (s *importer) GetMatchDrift(context.Context, *customerv1.GetMatchDriftRequest) (*customerv1.GetMatchDriftResponse, error) {
	return &customerv1.GetMatchDriftResponse{
		Mode: s.mode, Model: "0a1b", Customers: 2000, Pairs: 310.4,
		Comparisons: []*customerv1.ComparisonDrift{
			{Comparison: "name", Same: 0.02, FilledLearned: 1, FilledSeen: 1},
			{Comparison: "phone", Same: 0.31, FilledLearned: -1, FilledSeen: 0.5, Levels: []*customerv1.LevelDrift{{Level: "exact", SameLearned: 0.8, SameSeen: 0.4}}},
		},
		Bands: []*customerv1.ScoreBand{{From: 0.5, Below: 0.8, Pairs: 12, Confirmed: 3, Rejected: 1, Expected: 0.7}, {From: 0.8, Below: 1, Pairs: 5}},
	}, nil
}

func TestMatchLeads(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T, text string) string {
		t.Helper()
		name := filepath.Join(t.TempDir(), "leads.csv")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	t.Run("says which leads of an export are known", func(t *testing.T) {
		t.Parallel()
		s := &importer{}
		name := file(t, "Id,FirstName,LastName,Company,Email,Country,Rating\n00Q1,Ann,Lee,Acme,ann@acme.example,Germany,Hot\n00Q2,Bo,Ek, Beta ,,Atlantis,\n")
		code, out, problems := run(t, "match", "leads", name, "--addr", serveOperations(t, s))
		require.Zero(t, code, problems)
		require.Regexp(t, `00Q1 +EXISTS +0\.9999 +customer/c_1 +"ACME AG" +p_7`, out)
		require.Regexp(t, `00Q2 +NEW`, out)
		require.Contains(t, out, "2 leads: 1 are known customers, 0 may be, 1 are new")
		got := s.asked[0].GetLeads()
		require.Equal(t, []string{"Ann", "Lee", "ann@acme.example", "DE"}, []string{got[0].GetFirstName(), got[0].GetLastName(), got[0].GetEmail(), got[0].GetAddress().GetCountry()})
		require.Equal(t, []string{"Beta", ""}, []string{got[1].GetCompany(), got[1].GetAddress().GetCountry()}, "a country that nobody knows is none")
	})
	t.Run("names the rows that cannot be checked before it asks", func(t *testing.T) {
		t.Parallel()
		s := &importer{}
		code, _, problems := run(t, "match", "leads", file(t, "Company,LastName\nAcme,Lee\n,Ek\n"+strings.Repeat("x", 2000)+",Po\n"), "--addr", serveOperations(t, s))
		require.NotZero(t, code)
		require.Contains(t, problems, "line 3: ")
		require.Contains(t, problems, "line 4: ")
		require.Contains(t, problems, "company")
		require.Empty(t, s.asked)
	})
	t.Run("names the line and the column of a value that is too long", func(t *testing.T) {
		t.Parallel()
		s := &importer{}
		long := strings.Repeat("x", 1<<20)
		code, _, problems := run(t, "match", "leads", file(t, "Id,Company,Rating\n1,Acme,"+long+"\n2,"+long+",\n"+long+",Acme,\n"), "--addr", serveOperations(t, s))
		require.NotZero(t, code)
		require.Contains(t, problems, `line 3, column "Company": the value is longer than 8192 bytes`)
		require.Contains(t, problems, `line 4, column "Id": the value is longer than 8192 bytes`)
		require.NotContains(t, problems, "line 2", "what is ignored may be long")
		require.Empty(t, s.asked)
	})
	t.Run("reads what a spreadsheet writes", func(t *testing.T) {
		t.Parallel()
		s := &importer{}
		code, _, problems := run(t, "match", "leads", file(t, "Company;City\nM\xfcller AG;K\xf6ln\n"), "--addr", serveOperations(t, s))
		require.Zero(t, code, problems)
		require.Equal(t, []string{"Müller AG", "Köln"}, []string{s.asked[0].GetLeads()[0].GetCompany(), s.asked[0].GetLeads()[0].GetAddress().GetCity()})
	})
	t.Run("refuses a row whose values are not those of its columns", func(t *testing.T) {
		t.Parallel()
		code, _, problems := run(t, "match", "leads", file(t, "Company,City\nAcme,Rome\nSmith, Jones,Oslo\n"), "--addr", serveOperations(t, &importer{}))
		require.NotZero(t, code)
		require.Contains(t, problems, "line 3: 3 values in 2 columns")
	})
	t.Run("says what is known when the service is lost", func(t *testing.T) {
		t.Parallel()
		s := &importer{most: 1}
		code, out, _ := run(t, "match", "leads", file(t, "Company\n"+strings.Repeat("Acme\n", 101)), "--addr", serveOperations(t, s))
		require.NotZero(t, code)
		require.Contains(t, out, "100 leads: 100 are known customers")
	})
	t.Run("wants a file with companies", func(t *testing.T) {
		t.Parallel()
		for _, args := range [][]string{{}, {file(t, "Id,Name\n1,x\n")}, {file(t, "")}, {"nowhere.csv"}} {
			code, _, _ := run(t, append([]string{"match", "leads"}, args...)...)
			require.NotZero(t, code, args)
		}
	})
}

func TestMatchDrift_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	code, out, problems := run(t, "match", "drift", "--levels", "--addr", serveOperations(t, &importer{mode: "join"}))
	require.Zero(t, code, problems)
	require.Regexp(t, `name +0\.020 +0\.000 +100\.0% +100\.0%`, out)
	require.Regexp(t, `phone +0\.310 +0\.000 +50\.0% +- +learn a new model`, out)
	require.Regexp(t, `exact +80\.0% → 40\.0%`, out)
	require.Regexp(t, `0\.5 to 0\.8 +12 +3 +1 +70\.0% +75\.0%`, out)
	require.NotContains(t, out, "compare SAME with an earlier report")
	_, out, _ = run(t, "match", "drift", "--addr", serveOperations(t, &importer{mode: "ask"}))
	require.Contains(t, out, "compare SAME with an earlier report")
	require.NotContains(t, out, "learn a new model", "in that mode it says nothing by itself")
	code, _, _ = run(t, "match", "drift", "--customers", "0")
	require.NotZero(t, code)
}
