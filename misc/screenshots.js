// Made-up content for misc/screenshots.py, drawn and written in the page, and uploaded as if somebody had chosen it.

/** Hills in some colours, as a JPEG. */
async function hills(name, [top, bottom], [far, near], sun) {
  const canvas = new OffscreenCanvas(1600, 1000);
  const c = canvas.getContext("2d");
  const mix = (a, b, t) => `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * t)).join()})`;
  const sky = c.createLinearGradient(0, 0, 0, 1000);
  sky.addColorStop(0, mix(top, top, 0));
  sky.addColorStop(1, mix(bottom, bottom, 0));
  c.fillStyle = sky;
  c.fillRect(0, 0, 1600, 1000);
  c.filter = "blur(5px)";
  c.fillStyle = "rgb(255 240 205)";
  c.beginPath();
  c.arc(sun[0], sun[1], sun[2], 0, 7);
  c.fill();
  c.filter = "none";
  for (let layer = 0; layer < 5; layer += 1) {
    c.fillStyle = mix(far, near, layer / 4);
    c.beginPath();
    c.moveTo(0, 1000);
    for (let x = 0; x <= 1600; x += 8) c.lineTo(x, 480 + 110 * layer - 80 * Math.sin(x / 330 + layer * 2 + sun[0]) - 35 * Math.sin(x / 120 + layer * 5) - 10 * Math.sin(x / 37 + layer));
    c.lineTo(1600, 1000);
    c.fill();
  }
  return file(name, await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 }));
}

let day = 0;
function file(path, data) {
  day += 1;
  const name = path.split("/").pop();
  const made = new File([data], name, { lastModified: Date.UTC(2026, 1, 3) - day * 5.3e8 });
  Object.defineProperty(made, "webkitRelativePath", { value: path.includes("/") ? path : "" });
  return made;
}

const noise = (bytes) => {
  const out = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) crypto.getRandomValues(out.subarray(at, Math.min(at + 65536, bytes)));
  return out;
};

function choose(input, files) {
  Object.defineProperty(input, "files", { value: files, configurable: true });
  input.dispatchEvent(new Event("change"));
}

/** A folder as somebody might have one. */
async function fill() {
  const pictures = [
    ["Dawn over the ridge", [[250, 190, 140], [255, 235, 205]], [[214, 160, 150], [60, 40, 60]], [1150, 430, 70]],
    ["Blue hour", [[40, 60, 120], [190, 180, 210]], [[120, 130, 170], [20, 30, 55]], [400, 330, 50]],
    ["First snow", [[150, 190, 225], [240, 246, 250]], [[190, 210, 225], [70, 95, 110]], [1300, 200, 60]],
    ["Green valley", [[120, 190, 235], [225, 242, 248]], [[150, 195, 170], [30, 80, 60]], [300, 180, 70]],
    ["Last light", [[90, 50, 110], [250, 160, 120]], [[160, 90, 110], [35, 20, 45]], [820, 470, 80]],
  ];
  const files = [];
  for (const [name, ...rest] of pictures) files.push(await hills(`Photos/${name}.jpg`, ...rest));
  const texts = {
    "Letters/To Ada.txt": "Dear Ada,\n\nthe stones arrived.\n", "Letters/To Charles.txt": "Dear Charles,\n\nthe engine runs.\n", "Taxes 2025/Receipts.csv": "what,amount\nstones,30\n",
    "Music/Scales.txt": "c d e f g a b c\n", "Field notes.md": "# Field notes\n\nGrey sandstone, three of them standing.\n", "Address book.json": "{}\n", "Index.html": "<h1>Index</h1>\n",
  };
  for (const [path, text] of Object.entries(texts)) files.push(file(path, text));
  files.push(file("Film of the harbour.mp4", noise(2_400_000)), file("Family archive.tar.gz", noise(900_000)), file("Manual.pdf", noise(310_000)), file("Old song.flac", noise(1_200_000)));
  choose(document.getElementById("pick-folder"), files);
}

/** Something that takes a while. */
async function stream(name) {
  choose(document.getElementById("pick-files"), [new File(Array(60).fill(noise(20_000_000)), name)]);
}
