// Turns the pictures of a code cell tagged "slider" into one picture with a range input.
// The cell prints a label and shows a picture, again and again; without JavaScript, and in JupyterLab, all are seen.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("div.cell.tag_slider").forEach((cell, number) => {
    const pictures = [...cell.querySelectorAll(".cell_output img")];
    const labels = [...cell.querySelectorAll(".cell_output .output.stream")];
    if (pictures.length < 2 || labels.length !== pictures.length) return;
    const texts = labels.map((label) => (label.querySelector("pre") || label).textContent.trim());
    labels.forEach((label) => { label.hidden = true; label.style.display = "none"; });

    const box = document.createElement("div");
    box.className = "frame-slider";
    box.innerHTML = `<label for="frames-${number}">Frame</label>
      <input id="frames-${number}" type="range" min="0" max="${pictures.length - 1}" value="0" step="1">
      <output for="frames-${number}" aria-live="polite"></output>`;
    pictures[0].closest(".cell_output").prepend(box);
    const input = box.querySelector("input");
    const output = box.querySelector("output");
    pictures.forEach((picture, index) => { picture.alt = `${picture.alt} (${texts[index]})`; });

    const show = () => {
      const chosen = Number(input.value);
      pictures.forEach((picture, index) => { picture.style.display = index === chosen ? "" : "none"; });
      output.textContent = texts[chosen];
      input.setAttribute("aria-valuetext", texts[chosen]);
    };
    input.addEventListener("input", show);
    show();
  });
});
