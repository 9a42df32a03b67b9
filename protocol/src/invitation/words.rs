//! The words of codes: 256 that differ well, each worth eight bits. Their order and spelling are part of the format.

#[rustfmt::skip]
pub(super) const WORDS: [&str; 256] = [
    "acorn", "adobe", "agate", "album", "alder", "amber", "anchor", "anvil", "apple", "apron", "arch",
    "arrow", "aspen", "atlas", "attic", "autumn", "axle", "badger", "bakery", "bamboo", "banner", "barley",
    "barn", "basalt", "basin", "basket", "beacon", "beaver", "beech", "bell", "bench", "berry", "birch",
    "bishop", "blanket", "bobbin", "bonfire", "bottle", "boulder", "bramble", "branch", "brass", "bread",
    "breeze", "brick", "bridge", "bronze", "broom", "brush", "bucket", "buckle", "butter", "button",
    "cabin", "cable", "candle", "canoe", "canvas", "carbon", "carpet", "castle", "cedar", "cellar", "chalk",
    "cherry", "chest", "chimney", "cider", "circle", "cliff", "clock", "cloud", "clover", "cobalt",
    "coffee", "comet", "compass", "copper", "coral", "cotton", "cradle", "crane", "crater", "creek",
    "cricket", "crystal", "cypress", "daisy", "delta", "desert", "diamond", "domino", "donkey", "dragon",
    "drum", "dune", "eagle", "echo", "elbow", "elder", "elm", "ember", "engine", "falcon", "feather",
    "fern", "fiddle", "finch", "flint", "flute", "forest", "fossil", "fox", "frost", "galaxy", "garden",
    "garnet", "geyser", "ginger", "glacier", "glove", "goat", "gold", "gorge", "grain", "granite", "gravel",
    "hammer", "harbor", "harp", "hazel", "heather", "hedge", "helmet", "heron", "hickory", "hollow",
    "honey", "horizon", "hornet", "igloo", "indigo", "inlet", "iris", "iron", "island", "ivory", "ivy",
    "jacket", "jade", "jasper", "jigsaw", "juniper", "kettle", "kitten", "ladder", "lagoon", "lantern",
    "larch", "lemon", "lichen", "lilac", "linen", "lizard", "lobster", "lotus", "lumber", "magnet", "mango",
    "maple", "marble", "marsh", "meadow", "mellow", "melon", "meteor", "mirror", "mitten", "moss",
    "mountain", "muffin", "mustard", "nectar", "needle", "nickel", "nutmeg", "oak", "oasis", "ocean",
    "olive", "onion", "opal", "orbit", "orchard", "otter", "owl", "oyster", "paddle", "panther", "parsley",
    "pebble", "pelican", "pepper", "pewter", "piano", "pigeon", "pillow", "pine", "planet", "plaster",
    "plum", "pocket", "pond", "poplar", "poppy", "potato", "pottery", "prairie", "puffin", "pumpkin",
    "puzzle", "quarry", "quartz", "quilt", "rabbit", "raven", "ribbon", "river", "robin", "rocket", "rose",
    "saddle", "saffron", "salmon", "sandal", "saturn", "shadow", "shovel", "silver", "slate", "sparrow",
    "spruce", "squirrel", "summit", "sunset", "swallow", "teapot", "temple", "thicket", "thistle",
    "thunder", "timber", "tulip", "tunnel", "turnip", "valley",
];

#[cfg(test)]
mod tests {
    use super::WORDS;

    #[test]
    fn words_are_plain_and_differ() {
        assert!(WORDS.is_sorted_by(|a, b| a < b));
        assert!(
            WORDS.iter().all(|word| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        );
    }
}
