// Moves a line over the spectrogram while its sound plays, and lets a click on the picture choose the place.
const player = document.getElementById("player");
const figure = document.getElementById("picture");
const cursor = figure.querySelector(".cursor");
const image = figure.querySelector("img");

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
