package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The JSON of each command has a schema in schema/, which users may rely on. The check
// knows the words that stand there, and complains about any other.

type schema map[string]any

// schemaWords are those that check understands; the others are for people.
var schemaWords = map[string]bool{
	"type": true, "properties": true, "required": true, "additionalProperties": true, "items": true, "enum": true, "pattern": true,
	"$ref": true, "$defs": true, "$schema": true, "description": true,
}

// conforms checks what a command has printed.
func (p *place) conforms(name, text string) {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join("schema", name+".json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(b, &root); err != nil {
		p.t.Fatalf("schema of %s: %v", name, err)
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, text)
	}
	if err := check(root, root, v, name); err != nil {
		p.t.Fatalf("%v\n%s", err, text)
	}
}

func check(root, s schema, v any, at string) error {
	for word := range s {
		if !schemaWords[word] {
			return fmt.Errorf("schema at %s: %s is not understood", at, word)
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		def, ok := root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			return fmt.Errorf("schema at %s: %s is not there", at, ref)
		}
		return check(root, def, v, at)
	}
	if list, ok := s["enum"].([]any); ok && !slices.Contains(list, v) {
		return fmt.Errorf("%s is %v, none of %v", at, v, list)
	}
	if kinds, several := s["type"].([]any); several {
		var err error
		for _, kind := range kinds {
			one := maps.Clone(s)
			one["type"] = kind
			if err = check(root, one, v, at); err == nil {
				return nil
			}
		}
		return err
	}
	switch kind := s["type"]; kind {
	case nil:
	case "null":
		if v != nil {
			return fmt.Errorf("%s is %v, not null", at, v)
		}
	case "object":
		return checkObject(root, s, v, at)
	case "array":
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s is no array", at)
		}
		items, _ := s["items"].(map[string]any)
		for i, x := range list {
			if err := check(root, items, x, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "string":
		text, ok := v.(string)
		if pattern, has := s["pattern"].(string); !ok || has && !regexp.MustCompile(pattern).MatchString(text) {
			return fmt.Errorf("%s is %v, which does not match %q", at, v, pattern)
		}
	case "number", "integer":
		if n, ok := v.(float64); !ok || kind == "integer" && n != float64(int64(n)) {
			return fmt.Errorf("%s is %v, no %s", at, v, kind)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%s is %v", at, v)
		}
	default:
		return fmt.Errorf("schema at %s: type %v is not understood", at, kind)
	}
	return nil
}

func checkObject(root, s schema, v any, at string) error {
	o, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object", at)
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := o[name.(string)]; !ok {
			return fmt.Errorf("%s has no %v", at, name)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		p, known := properties[name].(map[string]any)
		if !known && s["additionalProperties"] == false {
			return fmt.Errorf("%s has %s, which the schema does not know", at, name)
		}
		if err := check(root, p, o[name], at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// The check must be able to fail.
func TestSchemaCheck(t *testing.T) {
	s := schema{
		"type": "object", "required": []any{"a"}, "additionalProperties": false,
		"properties": map[string]any{"a": map[string]any{"type": "array", "items": map[string]any{"$ref": "#/$defs/x"}}},
		"$defs":      map[string]any{"x": map[string]any{"enum": []any{"y"}}},
	}
	for text, good := range map[string]bool{
		`{"a":[]}`: true, `{"a":["y","y"]}`: true, `{"a":["z"]}`: false, `{"a":[],"b":1}`: false, `{}`: false, `[]`: false, `{"a":{}}`: false,
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if err := check(s, s, v, "it"); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	if check(nil, schema{"minimum": 1}, 1.0, "it") == nil {
		t.Error("a word that is not understood is passed over")
	}
}
