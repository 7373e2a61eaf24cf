// Small repairs of the theme's HTML, so that axe finds no WCAG 2.1 A or AA violation.
document.addEventListener("DOMContentLoaded", () => {
  // A bibliography is marked as a list; its entries must then be list items.
  document.querySelectorAll("div.citation-list, [role=list] > div.citation").forEach((element) => {
    const entries = element.matches("[role=list]") ? element.children : [element];
    for (const entry of entries) entry.setAttribute("role", "listitem");
  });
  // The sidebar's fold-out arrows have no text.
  document.querySelectorAll(".bd-sidebar summary, nav summary").forEach((summary) => {
    if (summary.textContent.trim() === "" && !summary.hasAttribute("aria-label")) {
      summary.setAttribute("aria-label", "Show or hide the pages of this part");
    }
  });
  // The index of source pages puts the list of a package's modules beside the package's entry instead of into it.
  document.querySelectorAll("ul > li + ul").forEach((list) => list.previousElementSibling.append(list));
  // A box that scrolls must be reachable with the keyboard.
  const scrollable = "pre, div.cell_output, div.text_html, figure, .pst-scrollable-table-container, div.math";
  const makeReachable = () => document.querySelectorAll(scrollable).forEach((box) => {
    if (box.scrollWidth > box.clientWidth && !box.hasAttribute("tabindex")) box.setAttribute("tabindex", "0");
  });
  makeReachable();
  window.addEventListener("load", makeReachable);
  window.addEventListener("resize", makeReachable);
});
