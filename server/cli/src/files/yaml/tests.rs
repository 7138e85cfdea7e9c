use super::*;

fn read(text: &str) -> Vec<Node> {
    let (roots, problems) = documents(text.as_bytes());
    assert_eq!(problems, [], "{text}");
    roots
}

fn refused(text: &[u8]) -> Vec<(usize, usize, String)> {
    let (_, problems) = documents(text);
    let told = |problem: Problem| (problem.at.line, problem.at.column, problem.message);
    problems.into_iter().map(told).collect()
}

fn assert_refused(text: &[u8], line: usize, part: &str) {
    let problems = refused(text);
    let there = |(at, _, message): &(usize, usize, String)| *at == line && message.contains(part);
    assert!(problems.iter().any(there), "{problems:?}");
}

/// As lists, maps and words, without places.
fn outline(node: &Node) -> String {
    match &node.is {
        Is::Scalar { text, .. } => format!("{:?} {text}", node.is.word().unwrap()),
        Is::List(items) => format!("{:?}", items.iter().map(outline).collect::<Vec<_>>()),
        Is::Map(entries) => {
            let entry = |(key, value): &(Key, Node)| format!("{}={}", key.name, outline(value));
            format!(
                "{{{}}}",
                entries.iter().map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        Is::Refused => "refused".to_owned(),
    }
}

#[test]
fn a_word_means_what_json_says_and_nothing_else_passes_for_a_number() {
    for (text, word) in [
        ("", Word::Null),
        ("null", Word::Null),
        ("~", Word::Null),
        ("true", Word::Bool(true)),
        ("False", Word::Bool(false)),
        ("yes", Word::Text),
        ("no", Word::Text),
        ("on", Word::Text),
        ("0", Word::Number),
        ("-12", Word::Number),
        ("1.50", Word::Number),
        ("1e3", Word::Number),
        ("-1.5E-3", Word::Number),
        ("007", Word::OddNumber),
        ("0o17", Word::OddNumber),
        ("0x1F", Word::OddNumber),
        ("+4", Word::OddNumber),
        (".5", Word::OddNumber),
        ("5.", Word::OddNumber),
        (".inf", Word::OddNumber),
        ("-.INF", Word::OddNumber),
        (".nan", Word::OddNumber),
        ("1_000", Word::Text),
        ("1:30", Word::Text),
        ("0.8s", Word::Text),
        ("1.2.3", Word::Text),
        ("e3", Word::Text),
        ("-", Word::Text),
        (".", Word::Text),
    ] {
        assert_eq!(Word::of(text), word, "{text:?}");
    }
}

#[test]
fn what_is_quoted_is_text() {
    let roots = read("- 'true'\n- \"1\"\n- |\n  5\n- 5\n");
    assert_eq!(
        outline(&roots[0]),
        r#"["Text true", "Text 1", "Text 5\n", "Number 5"]"#
    );
}

#[test]
fn every_value_and_every_name_knows_its_place() {
    let roots = read("# first\nname: a\nrules:\n  retry: {maxAttempts: 4}\n");
    let Is::Map(entries) = &roots[0].is else {
        panic!("{roots:?}")
    };
    assert_eq!(entries[0].0.at, At { line: 2, column: 1 });
    assert_eq!(entries[0].1.at, At { line: 2, column: 7 });
    let Is::Map(rules) = &entries[1].1.is else {
        panic!("{entries:?}")
    };
    assert_eq!(rules[0].0.at, At { line: 4, column: 3 });
    let Is::Map(retry) = &rules[0].1.is else {
        panic!("{rules:?}")
    };
    assert_eq!(
        retry[0].1.at,
        At {
            line: 4,
            column: 24
        }
    );
}

#[test]
fn a_text_may_hold_several_documents() {
    let roots = read("---\na: 1\n---\nb: 2\n...\n---\nc: 3\n");
    let outlines: Vec<_> = roots.iter().map(outline).collect();
    assert_eq!(outlines, ["{a=Number 1}", "{b=Number 2}", "{c=Number 3}"]);
    assert_eq!(read(""), []);
    assert_eq!(read("# nothing\n"), []);
}

#[test]
fn json_is_yaml_too_indented_with_tabs_or_on_one_line() {
    for text in [
        "{\"a\": [1, true, null, \"x\\n\\u00e9\\/\"], \"b\": {}}",
        "{\n\t\"a\": [\n\t\t1,\n\t\ttrue,\n\t\tnull,\n\t\t\"x\\n\\u00e9\\/\"\n\t],\n\t\"b\": {}\n}\n",
        "{\r\n  \"a\":[1,true,null,\"x\\n\\u00e9\\/\"],\r\n  \"b\":{}\r\n}\r\n",
    ] {
        let roots = read(text);
        assert_eq!(
            outline(&roots[0]),
            "{a=[\"Number 1\", \"Bool(true) true\", \"Null null\", \"Text x\\né/\"], b={}}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(outline(&read("\u{feff}a: 1")[0]), "{a=Number 1}");
}

#[test]
fn anchors_aliases_and_tags_are_refused_all_of_them_at_once() {
    let text = b"a: &x 1\nb: *x\nc: !!str 5\n";
    assert_refused(text, 1, "anchors are not read here");
    assert_refused(text, 2, "aliases are not read here");
    assert_refused(text, 3, "tags are not read here");
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_grows() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let all = vec![format!("*a{}", level - 1); 9].join(",");
        text += &format!("a{level}: &a{level} [{all}]\n");
    }
    let (roots, problems) = documents(text.as_bytes());
    assert!(!problems.is_empty() && problems.len() <= MAX_PROBLEMS);
    assert!(outline(&roots[0]).len() < 2000);
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = "[".repeat(MAX_DEPTH + 1);
    assert_refused(deep.as_bytes(), 1, "nested deeper than 24 levels");
    assert_refused("[".repeat(1_000_000).as_bytes(), 1, "recursion limit");
    let wide = "- x\n".repeat(MAX_NODES + 1);
    assert_refused(wide.as_bytes(), MAX_NODES + 1, "more than 200000 values");
    let long = vec![b'#'; MAX_BYTES + 1];
    assert_refused(&long, 0, "at most 4194304 bytes");
}

#[test]
fn what_is_no_text_is_refused_where_it_ceases_to_be_one() {
    assert_refused(b"a: 1\nb: \xff\n", 2, "not UTF-8");
    assert_refused(b"\xff\xfea\0b\0", 1, "not UTF-8");
    assert_refused(b"a: 1\n\0\0", 2, "control character");
    assert_refused(b"\x7fELF", 1, "control character");
}

#[test]
fn tabs_for_indentation_are_told_as_such() {
    assert_refused(b"a:\n\tb: 1\n", 2, "indent with spaces");
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    assert_refused(b"a: 1\nb: [1, 2\nc: 3\n", 3, "is not YAML");
    assert_refused(b"a: \"x\n", 1, "is not YAML");
}

#[test]
fn a_name_that_is_a_list_is_refused() {
    assert_refused(b"? [a, b]\n: 1\n", 1, "must be a name");
}

#[test]
fn a_merge_key_is_refused_unless_it_is_in_quotes() {
    assert_refused(
        b"a: 1\nlabels: {<<: a}\n",
        2,
        "merge keys are not read here",
    );
    assert_refused(
        b"labels:\n  <<: {b: c}\n",
        2,
        "merge keys are not read here",
    );
    assert_eq!(outline(&read("{\"<<\": <<}")[0]), "{<<=Text <<}");
}
