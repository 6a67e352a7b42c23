// A line moves over the pictures while their sound plays, a click on them chooses the place, and, where the library is
// installed, the waveform is drawn under them on the same time axis.
const player = document.getElementById("player");
const figure = document.getElementById("picture");
const cursor = figure.querySelector(".cursor");
const image = figure.querySelector("img");
const waveform = document.getElementById("waveform");

function margins() {
  const isNarrow = image.currentSrc.includes("narrow");
  return isNarrow ? [40 / 400, 10 / 400] : [Number(figure.dataset.left), Number(figure.dataset.right)];
}

function show() {
  if (!player.duration) return;
  const [left, right] = margins();
  const place = left + (1 - left - right) * (player.currentTime / player.duration);
  cursor.style.left = `${place * 100}%`;
  cursor.hidden = false;
  if (!player.paused) requestAnimationFrame(show);
}

player.addEventListener("play", show);
player.addEventListener("seeked", show);
figure.addEventListener("click", (click) => {
  if (!player.duration) return;
  const [left, right] = margins();
  const box = image.getBoundingClientRect();
  const place = ((click.clientX - box.left) / box.width - left) / (1 - left - right);
  player.currentTime = Math.min(Math.max(place, 0), 1) * player.duration;
  player.play();
});

try {
  const { default: WaveSurfer } = await import("/lib/wavesurfer.js");
  const [left, right] = margins();
  waveform.style.marginLeft = `${left * 100}%`;
  waveform.style.marginRight = `${right * 100}%`;
  WaveSurfer.create({
    container: waveform,
    media: player,
    height: 64,
    barWidth: 2,
    barGap: 1,
    barRadius: 1,
    normalize: true,
    waveColor: "#5f6b7c",
    progressColor: "#4fd1c1",
    cursorWidth: 0,
    interact: false, // a click anywhere on the figure does it
    cspNonce: waveform.dataset.nonce,
  });
} catch {
  // Without the library there is no waveform; everything else works.
}
