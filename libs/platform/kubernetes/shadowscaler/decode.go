package shadowscaler

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// Decode reads a spec into a workload with the defaults of the configuration file. The error names every fault, as the
// configuration file's check does.
func Decode(name string, spec map[string]any) (workload.Workload, error) {
	w := workload.Default()
	keys, err := fileKeys(spec, workloadType, "")
	if err != nil {
		return w, err
	}
	data, err := yaml.Marshal(keys)
	if err != nil {
		return w, fmt.Errorf("encode spec: %w", err)
	}
	if err := yaml.Unmarshal(data, &w); err != nil {
		return w, fmt.Errorf("decode spec: %w", err)
	}
	w.Name = name
	if w.Production.Platform != workload.PlatformKubernetes || w.Shadow.Platform != workload.PlatformKubernetes {
		return w, errors.New("production.platform and shadow.platform: want kubernetes")
	}
	return w, w.Validate()
}

// fileKeys turns the keys of the resource into those of the configuration file.
func fileKeys(v any, t reflect.Type, path string) (any, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch x := v.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return x, nil // keys of the user's own, the environment for example
		}
		known := fields(t)
		out := map[string]any{}
		for key, value := range x {
			f, ok := known[key]
			if !ok {
				return nil, fmt.Errorf("%s.%s: is not known", path, key)
			}
			inner, err := fileKeys(value, f.Type, path+"."+key)
			if err != nil {
				return nil, err
			}
			out[yamlKey(f)] = inner
		}
		return out, nil
	case []any:
		if t.Kind() != reflect.Slice {
			return nil, fmt.Errorf("%s: is no list", path)
		}
		out := make([]any, 0, len(x))
		for i, e := range x {
			inner, err := fileKeys(e, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
			if err != nil {
				return nil, err
			}
			out = append(out, inner)
		}
		return out, nil
	default:
		return v, nil
	}
}

func yamlKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}
