package conf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
)

type common struct {
	LogLevel string `conf:"log_level" help:"how much to log"`
}

type section struct {
	Listen  string        `conf:"listen" help:"address"`
	Timeout time.Duration `conf:"timeout"`
	MaxSize int
}

type config struct {
	common
	Serve    section           `conf:"serve"`
	Backends []string          `conf:"backends"`
	Labels   map[string]string `conf:"labels"`
	Password conf.Secret       `conf:"password" help:"for the | database"`
	Ratio    float64           `conf:"ratio"`
	Debug    bool              `conf:"debug"`
	Quota    int64             `conf:"quota"`
	Now      func() time.Time  `conf:"-"`
}

func (c config) Validate() error {
	var errs []error
	if c.Ratio > 1 {
		errs = append(errs, errors.New("ratio: more than 1"))
	}
	if c.Quota < 0 {
		errs = append(errs, errors.New("quota: negative"))
	}
	return errors.Join(errs...)
}

func defaults() config {
	return config{
		common: common{"info"}, Serve: section{Listen: ":1", Timeout: time.Second, MaxSize: 5},
		Backends: []string{"a"}, Labels: map[string]string{"k": "v"},
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func load(t *testing.T, file string, environ, args []string) (config, string, error) {
	t.Helper()
	if file != "" {
		args = append([]string{"--config", write(t, file)}, args...)
	}
	var out strings.Builder
	c, err := conf.Load(conf.Options{Program: "prog", EnvPrefix: "APP", Args: args, Environ: environ, Out: &out, Version: "v1.2.3"}, defaults())
	return c, out.String(), err
}

func TestLoad_Layers(t *testing.T) {
	t.Parallel()
	file := "serve:\n  listen: file\n  timeout: 2s\nlog_level: file\nbackends: [x, y]\nlabels: {a: b}\nquota:\n"
	c, _, err := load(t, file, []string{"APP_SERVE_TIMEOUT=3s", "APP_LOG_LEVEL=env", "OTHER=1", "APP_DEBUG=true"}, []string{"--log_level=flag", "--serve.max_size", "9"})
	require.NoError(t, err)
	want := defaults()
	want.Serve = section{"file", 3 * time.Second, 9}
	want.LogLevel, want.Backends, want.Labels, want.Debug = "flag", []string{"x", "y"}, map[string]string{"a": "b"}, true
	require.Equal(t, want, c)

	c, _, err = load(t, "", []string{"APP_BACKENDS=p, q", "APP_LABELS=a=1,b=2"}, []string{"--debug", "--ratio", "-0.5"})
	require.NoError(t, err)
	require.Equal(t, []string{"p", "q"}, c.Backends)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, c.Labels)
	require.InDelta(t, -0.5, c.Ratio, 0)

	c, _, err = load(t, "", []string{"APP_CONFIG=" + write(t, "debug: true")}, nil)
	require.NoError(t, err)
	require.True(t, c.Debug)

	d := defaults()
	_, _, err = load(t, "labels: {new: x}", nil, nil)
	require.NoError(t, err)
	require.Equal(t, defaults(), d, "the defaults are not changed")
}

func TestLoad_RefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "serve:\n  lisen: x\n  timeout: ten\nlog_levle: x\nlisten: x\nserve2: {a: 1}\nquota: [1]\nratio: 0.1\nratio: 0.2\n",
		[]string{"APP_SERVE_LISTN=x", "APP_QUOTA=much"}, nil)
	require.Error(t, err)
	for _, want := range []string{
		`c.yaml:2: unknown key "serve.lisen", did you mean "serve.listen"?`,
		`c.yaml:3: serve.timeout: want a duration with a unit`,
		`c.yaml:4: unknown key "log_levle", did you mean "log_level"?`,
		`c.yaml:5: unknown key "listen", did you mean "serve.listen"?`,
		`c.yaml:6: unknown key "serve2"`,
		`c.yaml:7: quota: want one value, not a list`,
		`c.yaml:9: ratio is given twice`,
		`unknown variable APP_SERVE_LISTN, did you mean "APP_SERVE_LISTEN"?`,
		`environment APP_QUOTA: quota: want a whole number`,
	} {
		require.ErrorContains(t, err, want)
	}
	_, _, err = load(t, "", nil, []string{"--serve.lissten", "x", "--debgu", "positional", "--quota"})
	for _, want := range []string{`unknown flag --serve.lissten, did you mean "serve.listen"?`, `--debgu, did you mean "debug"?`, "--quota needs a value"} {
		require.ErrorContains(t, err, want)
	}
	_, _, err = load(t, "", nil, []string{"serve"})
	require.ErrorContains(t, err, `unexpected argument "serve"`)
	_, _, err = load(t, "- a list", nil, nil)
	require.Error(t, err)
	_, _, err = load(t, "serve: {listen: {a: 1}}", nil, nil)
	require.ErrorContains(t, err, "not a section")
	_, _, err = load(t, "", nil, []string{"--config", "/does/not/exist"})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, _, err = load(t, "", nil, []string{"--ratio=2", "--quota=-1"})
	require.ErrorContains(t, err, "ratio: more than 1")
	require.ErrorContains(t, err, "quota: negative")
}

func TestLoad_LeavesForeignVariablesAlone(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "", []string{
		"APP_TEST_POSTGRES=x", "APPLE=1",
		// what Kubernetes injects for a Service "app-erp"
		"APP_ERP_SERVICE_HOST=10.0.0.1", "APP_ERP_SERVICE_PORT=9102", "APP_ERP_SERVICE_PORT_GRPC=9102", "APP_ERP_PORT=tcp://10.0.0.1:9102",
		"APP_ERP_PORT_9102_TCP=tcp://10.0.0.1:9102", "APP_ERP_PORT_9102_TCP_PROTO=tcp", "APP_ERP_PORT_9102_TCP_PORT=9102", "APP_ERP_PORT_9102_TCP_ADDR=10.0.0.1",
	}, nil)
	require.NoError(t, err)
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := conf.Secret("hunter2")
	for _, shown := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %q %s %x", s, s, s, s, s, s), fmt.Sprintf("%+v", config{Password: s}), fmt.Sprintf("%#v", config{Password: s}),
	} {
		require.NotContains(t, shown, "hunter2")
		require.NotContains(t, shown, "68756e74657232")
	}
	b, err := json.Marshal(struct{ S conf.Secret }{s})
	require.NoError(t, err)
	require.JSONEq(t, `{"S":"****"}`, string(b))
	var logs strings.Builder
	slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "s", s)
	require.NotContains(t, logs.String(), "hunter2")
	require.Equal(t, "hunter2", s.Reveal())
	require.Empty(t, conf.Secret("").String())

	file := write(t, "hunter2\n")
	for name, from := range map[string]func() (config, string, error){
		"flag":        func() (config, string, error) { return load(t, "", nil, []string{"--password_file", file}) },
		"environment": func() (config, string, error) { return load(t, "", []string{"APP_PASSWORD_FILE=" + file}, nil) },
		"file":        func() (config, string, error) { return load(t, "password_file: "+file, nil, nil) },
		"value":       func() (config, string, error) { return load(t, "", []string{"APP_PASSWORD=hunter2"}, nil) },
	} {
		c, _, err := from()
		require.NoError(t, err, name)
		require.Equal(t, "hunter2", c.Password.Reveal(), name)
	}
	_, _, err = load(t, "", nil, []string{"--password", "****"})
	require.ErrorContains(t, err, "placeholder")
	_, _, err = load(t, "", nil, []string{"--quota", "hunter2"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2", "a secret in the wrong place is not repeated")
}

func TestPrintConfig(t *testing.T) {
	t.Parallel()
	_, out, err := load(t, "serve:\n  listen: ':9'\nbackends: [x, 'y: z']\n", []string{"APP_SERVE_TIMEOUT=3s", "APP_PASSWORD=hunter2"}, []string{"--quota=7", "--print-config"})
	require.ErrorIs(t, err, conf.ErrHandled)
	require.NotContains(t, out, "hunter2")
	for _, line := range []string{
		"log_level: info # default", "timeout: 3s # environment APP_SERVE_TIMEOUT", "quota: 7 # flag --quota", `password: '****' # environment APP_PASSWORD`,
	} {
		require.Contains(t, out, line)
	}
	require.Regexp(t, `listen: ['"]?:9['"]? # .*c\.yaml:2`, out)

	again, _, err := load(t, strings.ReplaceAll(out, "'****'", "hunter3"), nil, nil)
	require.NoError(t, err, "what is printed can be read:\n%s", out)
	require.Equal(t, []string{"x", "y: z"}, again.Backends)
	require.Equal(t, ":9", again.Serve.Listen)

	_, _, err = load(t, "", nil, []string{"--print-config", "--ratio=7"})
	require.NotErrorIs(t, err, conf.ErrHandled, "a configuration that is not valid is not printed as if it were")
}

func TestOtherFlags(t *testing.T) {
	t.Parallel()
	_, out, err := load(t, "", nil, []string{"--check-config"})
	require.ErrorIs(t, err, conf.ErrHandled)
	require.Contains(t, out, "valid")
	_, _, err = load(t, "", nil, []string{"--check-config", "--quota=-1"})
	require.NotErrorIs(t, err, conf.ErrHandled)
	_, out, err = load(t, "", nil, []string{"--version"})
	require.ErrorIs(t, err, conf.ErrHandled)
	require.Equal(t, "prog v1.2.3\n", out)
	_, out, err = load(t, "", nil, []string{"--help"})
	require.ErrorIs(t, err, conf.ErrHandled)
	require.Contains(t, out, "--serve.listen STRING")
	require.Contains(t, out, "--password_file FILE")
}

func TestLoad_ProgrammerErrors(t *testing.T) {
	t.Parallel()
	_, err := conf.Load(conf.Options{Program: "p"}, struct{ C chan int }{})
	require.ErrorContains(t, err, "chan int")
	_, err = conf.Load(conf.Options{Program: "p"}, struct {
		A string `conf:"x"`
		B string `conf:"x"`
	}{})
	require.ErrorContains(t, err, "declared twice")
}

func TestReference(t *testing.T) {
	t.Parallel()
	table := conf.Reference(defaults())
	require.Contains(t, table, "| `serve.timeout` | duration | `1s` |  |\n")
	require.Contains(t, table, "| `serve.max_size` | int | `5` |  |\n")
	require.Contains(t, table, `| for the \| database |`)
	require.Contains(t, table, "| `password_file` | file |")
}

func ExampleLoad() {
	type config struct {
		Listen   string      `conf:"listen" help:"address to listen on"`
		Password conf.Secret `conf:"password"`
	}
	c, err := conf.Load(conf.Options{
		Program: "example", EnvPrefix: "EXAMPLE",
		Environ: []string{"EXAMPLE_PASSWORD=hunter2"}, Args: []string{"--listen", ":9101"},
	}, config{Listen: ":80"})
	fmt.Println(c.Listen, c.Password, err)
	_, err = conf.Load(conf.Options{Program: "example", Args: []string{"--lisen", ":1"}}, config{})
	fmt.Println(err)
	// Output:
	// :9101 **** <nil>
	// configuration: unknown flag --lisen, did you mean "listen"?
}
