#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct Limits {}
