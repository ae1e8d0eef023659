//! Starts the page.

fn main() {
    yew::Renderer::<quorate_web::app::App>::new().render();
}
