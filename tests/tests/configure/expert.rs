//! What lies below the shell.

use reinstate_api::Expert;
use serde_json::json;

use crate::scene::{Scene, in_service};

const PROFILE: &str = "[expert]\ncommand = [\"/usr/bin/su\", \"--login\"]\ntext = [\"Careful.\"]\n";

#[test]
fn the_expert_mode_opens_only_where_the_vendor_has_it_and_an_admin_allows_it() {
    let scene = Scene::new(in_service());
    let (status, answer) = scene.call("POST", "/v1/expert", &json!({}));
    assert_eq!((status, &answer["failures"][0]["code"]), (403, &json!("forbidden")), "{answer}");
    assert_eq!(scene.call("POST", "/v1/expert/allow", &json!({ "allowed": true })).0, 404);

    let mut scene = Scene::new(in_service().profile_override(PROFILE));
    let (status, answer) = scene.call("POST", "/v1/expert", &json!({}));
    assert!(status == 403 && answer.to_string().contains("is not allowed"), "{answer}");
    assert_eq!(scene.call("POST", "/v1/expert/allow", &json!({ "allowed": true })).0, 200);
    scene.machine.stop();
    scene.machine.start().unwrap();
    let (status, answer) = scene.call("POST", "/v1/expert", &json!({}));
    let expert: Expert = serde_json::from_value(answer).unwrap();
    assert_eq!(
        (status, expert.command, expert.text.len()),
        (200, vec!["/usr/bin/su".into(), "--login".into()], 1)
    );
    assert_eq!(scene.call("POST", "/v1/expert/allow", &json!({ "allowed": false })).0, 200);
    assert_eq!(scene.call("POST", "/v1/expert", &json!({})).0, 403);
    let log = std::fs::read_to_string(scene.machine.log()).unwrap();
    let lines = log.lines().filter(|line| line.contains("WARN") && line.contains("expert mode: "));
    assert_eq!(lines.count(), 5, "{log}");
}
